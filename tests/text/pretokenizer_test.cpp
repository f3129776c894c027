// Scanners against the regular expressions that they stand for: words.jsonl was made with the tokenizers library 0.23.3
// (Oniguruma), from the expressions of the models' files, on hand-picked and random strings.
#include "core/text/pretokenizer.h"

#include <catch2/catch.hpp>

#include "tests/support/data.h"
#include "tests/text/vocab_data.h"

namespace kvasir::test {
namespace {

std::vector<size_t> word_sizes(const text::ScannerChain& scanners, std::string_view text) {
  std::vector<size_t> sizes;
  text::split_words(scanners, text,
                    [&](const char* begin, const char* end) { sizes.push_back(static_cast<size_t>(end - begin)); });
  return sizes;
}

}  // namespace

TEST_CASE("every scanner chain cuts as its model's regular expressions do") {
  const auto rows = read_word_cases(fixture("tokenizers/words.jsonl"));
  REQUIRE(rows.size() > 1000);
  for (const WordCase& row : rows) {
    const auto* found = text::find_pretokenizer(row.pre);
    REQUIRE(found != nullptr);
    INFO(row.pre << ": " << row.text);
    CHECK(word_sizes(found->scanners, row.text) == row.words);
  }
}

TEST_CASE("a known expression of a tokenizer.json gives scanners, an unknown one nothing") {
  const auto llama3 = text::find_scanners_by_pattern(
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)");
  REQUIRE(llama3);
  CHECK(*llama3 == text::find_pretokenizer("llama-bpe")->scanners);
  for (const char* pattern : {"", "(a+)+$", "(?<=a)b", "((((", ".*"})
    CHECK_FALSE(text::find_scanners_by_pattern(pattern));
}

TEST_CASE("bytes that are not UTF-8 are cut as one character each and lost by none") {
  for (const char* name : {"gpt-2", "llama-bpe", "deepseek-v3", "gpt-4o", "bloom"}) {
    size_t total = 0;
    for (const size_t size : word_sizes(text::find_pretokenizer(name)->scanners, "a\xFF\xC3(\xE2\x82 b\xF0\x9F"))
      total += size;
    CHECK(total == 10);
  }
}

}  // namespace kvasir::test
