// Linear time on any text (reliability.md V9). Nothing is measured: at these sizes a quadratic step takes minutes, and
// the test's time limit says so. Each text must also come back whole.
#include <catch2/catch.hpp>
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

}  // namespace

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
