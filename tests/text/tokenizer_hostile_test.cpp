// Linear time on any text (reliability.md V9). Nothing is measured: at these sizes a quadratic step takes minutes, and
// the test's time limit says so. Each text must also come back whole.
#include <catch2/catch.hpp>
#include <ctime>
#include <filesystem>
#include <set>

#include "core/text/pretokenizer.h"
#include "core/text/tokenizer.h"
#include "tests/support/data.h"
#include "tests/text/small_vocabulary.h"
#include "tests/text/vocab_data.h"

namespace kvasir::test {
namespace {

std::string repeat(std::string_view unit, size_t bytes) {
  std::string out;
  while (out.size() < bytes) out += unit;
  return out;
}

std::vector<std::string> hostile_texts(size_t bytes) {
  std::vector<std::string> texts;
  for (const char* unit : {"A",
                           "a",
                           "^",
                           "\n",
                           " ",
                           "\t",
                           "\xCC\x81",
                           "\xCC\x81\xCC\xA7",
                           "7",
                           "\xE4\xBD\xA0",
                           "\xE2\x80\x83",
                           "'",
                           "'s",
                           "A\xCC\x81",
                           "aB",
                           " \n",
                           "<",
                           "<|",
                           "\xFF",
                           "\xE2\x96\x81",
                           "a ",
                           "1a",
                           "\r"}) {
    texts.push_back(repeat(unit, bytes));
    texts.push_back(repeat(unit, bytes) + "x");
  }
  texts.push_back("\n" + repeat(" ", bytes) + "x");
  texts.push_back(repeat("A", bytes) + "\xE4\xBD\xA0" + repeat("A", bytes));
  return texts;
}

void check_round_trip(const Tokenizer& tokenizer, size_t bytes) {
  for (const std::string& text : hostile_texts(bytes)) {
    const auto got = tokenizer.encode(text, {.parse_special = true});
    REQUIRE(got);
    if (got->dropped_bytes != 0) continue;
    const bool same = *tokenizer.decode(got->ids, true) == text;
    INFO("starts with " << text.substr(0, 8));
    CHECK((same || text.find("\xE2\x96\x81") != std::string::npos || text.find("\xCC") != std::string::npos));
  }
}

double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

double seconds_to_encode(const Tokenizer& tokenizer, const std::string& text) {
  const double begin = processor_seconds();
  REQUIRE(tokenizer.encode(text, {.parse_special = true}));
  return processor_seconds() - begin;
}

/// Four times the text may cost up to eight times as much; a quadratic step would cost sixteen times.
void check_growth(const Tokenizer& tokenizer, const std::vector<std::string>& more_units) {
  std::vector<std::string> units{
      "a", "A", " ", "\n", "\xCC\x81", "\xCC\x81\xCC\xA3", "1", ".", "\xE2\x98\x83", "\xE2\x96\x81", "a ", "a\xCC\x81"};
  units.insert(units.end(), more_units.begin(), more_units.end());
  constexpr size_t kSmall = 256 << 10, kLarge = 1 << 20;
  constexpr double kTooShortToJudge = 0.02;
  for (const std::string& unit : units) {
    const std::string small = repeat(unit, kSmall), large = repeat(unit, kLarge);
    bool good = false;
    double first = 0, second = 0;
    for (int attempt = 0; attempt < 4 && !good; ++attempt) {  // others may be at work on this core
      second = seconds_to_encode(tokenizer, large);
      if (second < kTooShortToJudge) good = true;
      if (!good) first = seconds_to_encode(tokenizer, small);
      if (!good) good = second < 8 * first;
    }
    INFO("unit " << unit << ": " << first << " s, then " << second << " s");
    CHECK(good);
  }
}

}  // namespace

TEST_CASE("a megabyte of anything costs four times as much as a quarter, with every kind of tokenizer") {
  const std::vector<std::string> units{"<|pla", "<|plain|>", "<|norm|>", "<L>",    "<R>",      " <L>",
                                       "<R> ",  "<LR>",      " <LR> ",   "word",   "words ",   "Caf\xC3\x89",
                                       " the",  "the",       "  \n",     "<0xE2>", "\n\n\n<R>"};
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(fixture("tokenizers"))) {
    const auto extension = entry.path().extension();
    if (extension != ".json" && extension != ".model") continue;
    INFO(entry.path());
    const auto made = Tokenizer::create(read_any_vocabulary(entry.path()));
    REQUIRE(made);
    check_growth(**made, units);
    ++files;
  }
  CHECK(files == 11);
}

TEST_CASE("added tokens that swallow white space are found in linear time") {
  VocabularyData data;
  data.tokenizer_json = R"({"added_tokens": [
      {"id": 5, "content": "\n", "special": true, "lstrip": true, "rstrip": true, "normalized": false},
      {"id": 6, "content": " x", "special": true, "lstrip": true, "single_word": true, "normalized": false}],
    "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "\u2581": 3, "\u2581ab": 4}, "merges": []}})";
  const auto made = Tokenizer::create(std::move(data));
  REQUIRE(made);
  check_growth(**made, {" \n", "\n ", " x", "  x  ", "\n x"});
}

TEST_CASE("every pre-tokenizer cuts hostile text in linear time and loses nothing") {
  const auto texts = hostile_texts(100'000);
  std::string names = text::pretokenizer_names() + ", ";
  size_t rows = 0;
  std::set<text::ScannerChain> seen;  // many names share a chain
  for (size_t at = 0, comma; (comma = names.find(", ", at)) != std::string::npos; at = comma + 2) {
    const auto* row = text::find_pretokenizer(names.substr(at, comma - at));
    REQUIRE(row != nullptr);
    ++rows;
    if (!seen.insert(row->scanners).second) continue;
    for (const std::string& text : texts) {
      const char* expected = text.data();
      bool adjacent = true;
      text::split_words(row->scanners, text, [&](const char* begin, const char* end) {
        adjacent = adjacent && begin == expected && end > begin;
        expected = end;
      });
      INFO(row->name << " on " << text.substr(0, 8));
      CHECK((adjacent && expected == text.data() + text.size()));
    }
  }
  CHECK(rows > 80);
}

TEST_CASE("hostile text is encoded in linear time by the small vocabularies") {
  check_round_trip(**Tokenizer::create(small_byte_vocabulary()), 100'000);
  check_round_trip(**Tokenizer::create(small_spm_vocabulary()), 100'000);
}

TEST_CASE("hostile text is encoded in linear time by a real SPM vocabulary") {
  check_round_trip(*load_tokenizer(KVASIR_NEEDS(shared_data("vocab/ggml-vocab-llama-spm.gguf"))), 100'000);
}

TEST_CASE("hostile text is encoded in linear time by a real byte-level vocabulary with normalisation") {
  check_round_trip(*load_tokenizer(KVASIR_NEEDS(shared_data("vocab/ggml-vocab-qwen2.gguf"))), 100'000);
}

TEST_CASE("hostile text is encoded in linear time by the gemma-4 vocabulary") {
  check_round_trip(*load_tokenizer(KVASIR_NEEDS(shared_data("vocab/ggml-vocab-gemma-4.gguf"))), 100'000);
}

}  // namespace kvasir::test
