// The tokenizer.json of the Hugging Face tokenizers library, read into checked types. What it means is decided in
// tokenizer_pipeline.cpp. Single-threaded.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/text/huge_pages.h"
#include "core/text/json_reader.h"
#include "core/text/merge_table.h"
#include "core/text/tokenizer.h"

namespace kvasir::text {

struct AddedToken {
  int64_t id = 0;
  std::string content;
  bool special = false, lstrip = false, rstrip = false, single_word = false, normalized = false;
};

enum class JsonModel : uint8_t { kBpe, kUnigram };

struct TokenizerFile {
  JsonModel model = JsonModel::kBpe;
  std::vector<std::string> tokens;  ///< by id; empty where the file names none
  std::vector<double> scores;       ///< of a Unigram model, by id
  std::vector<bool> only_added;     ///< by id: not in the model's vocabulary
  HugeVector<MergePair> merges;     ///< views of the JSON text, or of `unescaped`
  std::deque<std::string> unescaped;
  std::string unknown;                ///< model.unk_token, or empty
  std::optional<int64_t> unknown_id;  ///< of a Unigram model
  bool fuse_unknown = false, byte_fallback = false, ignore_merges = false;
  std::vector<AddedToken> added;
  JsonNode normalizer, pre_tokenizer, post_processor, decoder;
};

/// Borrows `json` as long as the merges are used. Errors: kCorrupt (not JSON, ids doubled or outside the limits, a
/// merge that is no pair), kUnsupported (another model type, a dropout or affixes of sub-words), kTooLarge.
Result<TokenizerFile> read_tokenizer_file(std::string_view json, const TokenizerLimits& limits);

/// What tokenizer_config.json adds.
struct TokenizerConfig {
  std::string bos, eos, unknown, pad, tokenizer_class;
  std::optional<bool> add_bos, add_eos;
};
Result<TokenizerConfig> read_tokenizer_config(std::string_view json);

}  // namespace kvasir::text
