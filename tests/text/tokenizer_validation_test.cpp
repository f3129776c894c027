// A damaged or hostile vocabulary ends in an error that names the key and says what to do (reliability.md V1 to V8).
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <limits>

#include "core/text/tokenizer.h"
#include "tests/text/small_vocabulary.h"

namespace kvasir::test {
namespace {

using Change = std::function<void(VocabularyData&)>;

void refuses(VocabularyData data, const Change& change, Code code, const std::string& words,
             TokenizerLimits limits = {}) {
  change(data);
  const auto made = Tokenizer::create(std::move(data), limits);
  REQUIRE_FALSE(made);
  CHECK(made.error().code == code);
  CHECK_THAT(made.error().message, Catch::Contains(words));
}

void accepts(VocabularyData data, const Change& change) {
  change(data);
  const auto made = Tokenizer::create(std::move(data));
  if (!made) FAIL(made.error().message);
}

const VocabularyData kBytes = small_byte_vocabulary();
const VocabularyData kSpm = small_spm_vocabulary();

}  // namespace

TEST_CASE("a vocabulary whose lists differ in length is refused (V1)") {
  refuses(kSpm, [](auto& d) { d.scores.pop_back(); }, Code::kCorrupt, "tokenizer.ggml.scores has");
  refuses(kSpm, [](auto& d) { d.scores.clear(); }, Code::kCorrupt, "tokenizer.ggml.scores is missing");
  refuses(kSpm, [](auto& d) { d.kinds.pop_back(); }, Code::kCorrupt, "tokenizer.ggml.token_type has");
  refuses(kBytes, [](auto& d) { d.kinds.push_back(1); }, Code::kCorrupt, "tokenizer.ggml.token_type has");
  refuses(kBytes, [](auto& d) { d.scores.push_back(1); }, Code::kCorrupt, "tokenizer.ggml.scores has");
  refuses(
      kSpm, [](auto& d) { d.scores[5] = std::numeric_limits<float>::quiet_NaN(); }, Code::kCorrupt,
      "tokenizer.ggml.scores[5]");
  refuses(kSpm, [](auto& d) { d.kinds[5] = 99; }, Code::kCorrupt, "tokenizer.ggml.token_type[5] is 99");
  refuses(kSpm, [](auto& d) { d.kinds[5] = -1; }, Code::kCorrupt, "tokenizer.ggml.token_type[5]");
  accepts(kSpm, [](auto& d) { d.scores.back() = -std::numeric_limits<float>::infinity(); });
}

TEST_CASE("special ids outside the vocabulary are refused, given or by default (V4)") {
  const auto n = static_cast<int64_t>(kBytes.tokens.size());
  struct Row {
    std::optional<int64_t> VocabularyData::* field;
    const char* key;
  };
  const Row rows[] = {{&VocabularyData::bos, "bos_token_id"},
                      {&VocabularyData::eos, "eos_token_id"},
                      {&VocabularyData::eot, "eot_token_id"},
                      {&VocabularyData::eom, "eom_token_id"},
                      {&VocabularyData::unk, "unknown_token_id"},
                      {&VocabularyData::sep, "seperator_token_id"},
                      {&VocabularyData::pad, "padding_token_id"},
                      {&VocabularyData::mask, "mask_token_id"},
                      {&VocabularyData::fim_prefix, "fim_pre_token_id"},
                      {&VocabularyData::fim_suffix, "fim_suf_token_id"},
                      {&VocabularyData::fim_middle, "fim_mid_token_id"}};
  for (const Row& row : rows) {
    for (const int64_t bad : {n, int64_t{UINT32_MAX}, int64_t{-1}, INT64_MIN, INT64_MAX}) {
      refuses(
          kBytes, [&](auto& d) { d.*row.field = bad; }, Code::kCorrupt,
          std::string("tokenizer.ggml.") + row.key + " is " + std::to_string(bad));
    }
    accepts(kBytes, [&](auto& d) { d.*row.field = n - 1; });
  }
  refuses(
      kSpm,
      [](auto& d) {
        d.tokens.resize(1);
        d.kinds.resize(1);
        d.scores.resize(1);
        d.bos.reset();
      },
      Code::kCorrupt, "tokenizer.ggml.bos_token_id is absent");
}

TEST_CASE("BOS or EOS that is asked for but not named is refused") {
  refuses(kBytes, [](auto& d) { d.bos.reset(); }, Code::kCorrupt, "tokenizer.ggml.add_bos_token is true");
  refuses(
      kBytes,
      [](auto& d) {
        d.add_eos = true;
        d.eos.reset();
      },
      Code::kCorrupt, "tokenizer.ggml.add_eos_token is true");
}

TEST_CASE("byte tokens that are misspelt or partly missing are refused (V5)") {
  for (const char* bad : {"<0x-1>", "<0xZZ>", "<0x100>", "<0x1>", "<0X41>", "q3"}) {
    refuses(kSpm, [&](auto& d) { d.tokens[3 + 0x41] = bad; }, Code::kCorrupt, "tokenizer.ggml.tokens[68]");
  }
  refuses(
      kSpm,
      [](auto& d) {
        d.tokens[3 + 0x41] = "plain";
        d.kinds[3 + 0x41] = 1;
      },
      Code::kCorrupt, "<0x41> is missing");
  refuses(
      kSpm,
      [](auto& d) {
        d.tokens.erase(d.tokens.begin() + 3, d.tokens.begin() + 259);
        d.kinds.erase(d.kinds.begin() + 3, d.kinds.begin() + 259);
        d.scores.erase(d.scores.begin() + 3, d.scores.begin() + 259);
        d.unk = -1;
      },
      Code::kCorrupt, "unknown_token_id");
}

TEST_CASE("empty, doubled and huge tokens are refused, bytes that are no UTF-8 are not (V6)") {
  refuses(kBytes, [](auto& d) { d.tokens[7].clear(); }, Code::kCorrupt, "tokenizer.ggml.tokens[7]");
  refuses(kBytes, [](auto& d) { d.tokens[7] = d.tokens[5]; }, Code::kCorrupt, "is there twice");
  refuses(kBytes, [](auto& d) { d.tokens[7].assign(1u << 20, 'x'); }, Code::kCorrupt, "max_token_bytes = 1024");
  accepts(kBytes, [](auto& d) { d.tokens.back().assign(1024, 'x'); });
  accepts(kBytes, [](auto& d) { d.tokens.back() = "\xFF\xFE"; });
  refuses(
      kBytes,
      [](auto& d) {
        d.tokens.clear();
        d.kinds.clear();
      },
      Code::kCorrupt, "tokenizer.ggml.tokens is empty");
  refuses(kBytes, [](auto&) {}, Code::kTooLarge, "max_tokens = 10", {.max_tokens = 10});
}

TEST_CASE("merges that are no pair of tokens are refused (V7)") {
  for (const char* bad : {"nospace", "", " ", "h ", " h", "h e l", "h  e"}) {
    refuses(kBytes, [&](auto& d) { d.merges.push_back(bad); }, Code::kCorrupt, "is not two tokens");
  }
  refuses(kBytes, [](auto& d) { d.merges.push_back("h absent"); }, Code::kCorrupt, "names \"absent\"");
  refuses(kBytes, [](auto& d) { d.merges.push_back("absent h"); }, Code::kCorrupt, "names \"absent\"");
  refuses(kBytes, [](auto& d) { d.merges.push_back("x y"); }, Code::kCorrupt, "makes \"xy\"");
  refuses(kBytes, [](auto& d) { d.merges.clear(); }, Code::kCorrupt, "tokenizer.ggml.merges is missing");
  refuses(
      kBytes, [](auto& d) { d.merges.assign(4'000'001, "h e"); }, Code::kTooLarge, "tokenizer.ggml.merges has 4000001");
}

TEST_CASE("an unknown kind of tokenizer or pre-tokenizer is refused with the list of known ones") {
  refuses(kBytes, [](auto& d) { d.model = "bert"; }, Code::kUnsupported, "gpt2, llama");
  refuses(kBytes, [](auto& d) { d.model.clear(); }, Code::kUnsupported, "tokenizer.ggml.model");
  refuses(kBytes, [](auto& d) { d.pre = "nonsense"; }, Code::kUnsupported, "llama-bpe");
  refuses(kBytes, [](auto& d) { d.pre.assign(1u << 20, '\xFF'); }, Code::kUnsupported, "...");
  accepts(kBytes, [](auto& d) { d.pre.clear(); });
}

TEST_CASE("a text over the limit is refused before any work") {
  const auto made = Tokenizer::create(kBytes, {.max_text_bytes = 10});
  REQUIRE(made);
  CHECK((*made)->encode("0123456789", {}));
  const auto refused = (*made)->encode("0123456789a", {});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::kTooLarge);
  CHECK_THAT(refused.error().message, Catch::Contains("max_text_bytes = 10"));
}

TEST_CASE("without kinds, the named special ids are control tokens") {
  auto data = kBytes;
  data.kinds.clear();
  const auto made = Tokenizer::create(data);
  REQUIRE(made);
  CHECK((*made)->kind(static_cast<TokenId>(*data.eos)) == TokenKind::kControl);
  CHECK((*made)->encode("<|im_end|>", {.parse_special = true})->ids ==
        std::vector<TokenId>{static_cast<TokenId>(*data.eos)});
}

}  // namespace kvasir::test
