// The tokenizer.json of the Hugging Face tokenizers library, read into checked types. What it means is decided in
// tokenizer_pipeline.cpp. Single-threaded.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/text/json_reader.h"
#include "core/text/tokenizer.h"

namespace kvasir::text {

struct AddedToken {
  int64_t id = 0;
  std::string content;
  bool special = false, lstrip = false, rstrip = false, single_word = false, normalized = false;
};

enum class JsonModel : uint8_t { kBpe, kUnigram };
inline constexpr char kMergeSeparator = '\xFF';  ///< never in UTF-8, unlike the space

struct TokenizerFile {
  JsonModel model = JsonModel::kBpe;
  std::vector<std::string> tokens;    ///< by id; empty where the file names none
  std::vector<double> scores;         ///< of a Unigram model, by id
  std::vector<bool> only_added;       ///< by id: not in the model's vocabulary
  std::vector<std::string> merges;    ///< "left" kMergeSeparator "right"
  std::string unknown;                ///< model.unk_token, or empty
  std::optional<int64_t> unknown_id;  ///< of a Unigram model
  bool fuse_unknown = false, byte_fallback = false, ignore_merges = false;
  std::vector<AddedToken> added;
  JsonNode normalizer, pre_tokenizer, post_processor, decoder;
};

/// Errors: kCorrupt (not JSON, ids doubled or outside the limits, a merge that is no pair), kUnsupported (another model
/// type, a dropout or affixes of sub-words), kTooLarge.
Result<TokenizerFile> read_tokenizer_file(std::string_view json, const TokenizerLimits& limits);

/// What tokenizer_config.json adds.
struct TokenizerConfig {
  std::string bos, eos, unknown, pad, tokenizer_class;
  std::optional<bool> add_bos, add_eos;
};
Result<TokenizerConfig> read_tokenizer_config(std::string_view json);

}  // namespace kvasir::text
