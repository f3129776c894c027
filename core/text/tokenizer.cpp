#include "core/text/tokenizer.h"

#include <array>
#include <cmath>
#include <utility>

#include "core/text/byte_bpe.h"
#include "core/text/char_bpe.h"
#include "core/text/tokenizer_pipeline.h"
#include "core/text/vocabulary.h"

namespace kvasir {
namespace {

using namespace text;
using TokenizerPtr = std::unique_ptr<Tokenizer>;

/// Byte tokens must be all there, or none: a text must never be lost by half.
Result<void> check_byte_tokens(const TokenizerParts& parts) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  size_t found = 0;
  std::string missing;
  for (size_t b = 0; b < 256; ++b) {
    const std::string name = std::string("<0x") + kHex[b >> 4] + kHex[b & 15] + ">";
    if (parts.table.find(name) >= 0) {
      ++found;
    } else if (missing.empty()) {
      missing = name;
    }
  }
  if (found != 0 && found != 256) {
    return Failure{Code::kCorrupt, "tokenizer.ggml.tokens has only " + std::to_string(found) + " of 256 byte tokens; " +
                                       missing + " is missing; the vocabulary is damaged, convert the model again"};
  }
  if (found == 0 && !parts.policy.unknown) {
    return Failure{Code::kCorrupt,
                   "tokenizer.ggml.tokens has no byte tokens <0x00> to <0xFF> and no tokenizer.ggml.unknown_token_id: "
                   "text outside the vocabulary could not be encoded; convert the model again"};
  }
  return {};
}

Result<TokenizerPtr> create_spm(VocabularyData data, const TokenizerLimits& limits) {
  if (data.scores.empty() && !data.tokens.empty()) {
    return Failure{Code::kCorrupt,
                   "tokenizer.ggml.scores is missing, and this kind of tokenizer (\"llama\") joins by score; convert "
                   "the model again"};
  }
  if (data.scores.size() != data.tokens.size()) {
    return Failure{Code::kCorrupt, "tokenizer.ggml.scores has " + std::to_string(data.scores.size()) + " entries for " +
                                       std::to_string(data.tokens.size()) +
                                       " tokens; the file is damaged, fetch it again"};
  }
  for (size_t i = 0; i < data.scores.size(); ++i) {
    if (std::isnan(data.scores[i])) {
      return Failure{Code::kCorrupt,
                     "tokenizer.ggml.scores[" + std::to_string(i) + "] is not a number; convert the model again"};
    }
  }
  const VocabularyDefaults defaults{TokenSpelling::kSpaceMarked, true, 1, 2, 0};
  TokenizerParts parts = KVASIR_TRY(check_vocabulary(data, defaults, limits));
  KVASIR_TRY(check_byte_tokens(parts));
  CharBpeOptions options;
  options.spaces.prefix = data.add_space_prefix.value_or(true) ? PrefixSpace::kEverySegment : PrefixSpace::kNever;
  options.spaces.remove_extra_whitespaces = data.remove_extra_whitespaces.value_or(false);
  parts.policy.strip_leading_space = options.spaces.prefix != PrefixSpace::kNever;
  return TokenizerPtr(std::make_unique<CharBpe>(std::move(parts), data.scores, std::move(options)));
}

Result<TokenizerPtr> create_bpe(VocabularyData data, const PreTokenizer& row, const TokenizerLimits& limits) {
  if (data.merges.empty()) {
    return Failure{Code::kCorrupt, "tokenizer.ggml.merges is missing or empty, and this kind of tokenizer (\"" +
                                       data.model + "\") needs it; convert the model again"};
  }
  if (!data.scores.empty() && data.scores.size() != data.tokens.size()) {
    return Failure{Code::kCorrupt, "tokenizer.ggml.scores has " + std::to_string(data.scores.size()) + " entries for " +
                                       std::to_string(data.tokens.size()) +
                                       " tokens; the file is damaged, fetch it again"};
  }
  const VocabularyDefaults defaults{row.spaces_as_markers ? TokenSpelling::kSpaceMarked : TokenSpelling::kByteLevel,
                                    row.add_bos, std::nullopt, std::nullopt, std::nullopt};
  TokenizerParts parts = KVASIR_TRY(check_vocabulary(data, defaults, limits));
  const HugeVector<MergePair> pairs = KVASIR_TRY(split_merges(data.merges));
  MergeTable merges = KVASIR_TRY(MergeTable::create(pairs, parts.table));
  if (row.spaces_as_markers) {
    KVASIR_TRY(check_byte_tokens(parts));
    CharBpeOptions options;
    options.spaces.prefix = data.add_space_prefix.value_or(false) ? PrefixSpace::kEverySegment : PrefixSpace::kNever;
    if (row.nfc) options.normalizer.add({NormalizeStep::Kind::kNfc});
    parts.policy.strip_leading_space = options.spaces.prefix != PrefixSpace::kNever;
    return TokenizerPtr(std::make_unique<CharBpe>(std::move(parts), std::move(merges), std::move(options)));
  }
  ByteBpeOptions options;
  options.scanners = row.scanners;
  options.ignore_merges = row.ignore_merges;
  options.prefix_space = data.add_space_prefix.value_or(false);
  if (row.nfc) options.normalizer.add({NormalizeStep::Kind::kNfc});
  return TokenizerPtr(std::make_unique<ByteBpe>(std::move(parts), std::move(merges), std::move(options)));
}

}  // namespace

Result<TokenizerPtr> Tokenizer::create(VocabularyData vocabulary, const TokenizerLimits& limits) {
  if (!vocabulary.tokenizer_json.empty()) return create_from_json(std::move(vocabulary), limits);
  if (!vocabulary.sentencepiece_model.empty()) return create_from_sentencepiece(std::move(vocabulary), limits);
  if (vocabulary.model == "llama") return create_spm(std::move(vocabulary), limits);
  if (vocabulary.model == "gpt2" || vocabulary.model == "gemma4") {
    const std::string_view pre = vocabulary.model == "gemma4" ? std::string_view("gemma4") : vocabulary.pre;
    const PreTokenizer* row = find_pretokenizer(pre);
    if (row == nullptr) {
      return Failure{Code::kUnsupported, "tokenizer.ggml.pre is " + quote_token(pre) +
                                             ", which is not known; known are: " + pretokenizer_names()};
    }
    return create_bpe(std::move(vocabulary), *row, limits);
  }
  return Failure{Code::kUnsupported, "tokenizer.ggml.model is " + quote_token(vocabulary.model) +
                                         ", which is not supported; supported are: gpt2, llama, gemma4"};
}

}  // namespace kvasir
