// Text to token ids and back, exactly as the model's own tokenizer does it: byte-level BPE and SentencePiece (SPM) from
// GGUF metadata; more forms (Unigram, WordPiece, tokenizer.json) come behind the same interface. Immutable after
// creation and thread-safe. Source of truth for behaviour: the Hugging Face tokenizer of the model; llama.cpp's
// pre-tokenizer names for GGUF.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/backend.h"  // TokenId
#include "core/base/result.h"
#include "core/text/trusted_text.h"

namespace kvasir {

enum class TokenKind : uint8_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

/// What a vocabulary file says, already as checked types; from GGUF keys tokenizer.ggml.* (core/model fills it).
struct VocabularyData {
  std::string model;  ///< "gpt2" (byte-level BPE), "llama" (SPM), ...; as tokenizer.ggml.model
  std::string pre;    ///< tokenizer.ggml.pre: "smollm", "llama-bpe", "qwen2", "default", ...; may be empty
  std::vector<std::string> tokens;
  std::vector<float> scores;        ///< empty or one per token
  std::vector<int32_t> kinds;       ///< TokenKind numbers, empty or one per token
  std::vector<std::string> merges;  ///< "left right"
  std::optional<int64_t> bos, eos, eot, eom, unk, sep, pad, mask, fim_prefix, fim_suffix, fim_middle;
  std::optional<bool> add_bos, add_eos, add_space_prefix, remove_extra_whitespaces;
  // The other forms: whole files of a Hugging Face folder. If tokenizer_json or sentencepiece_model is not empty, it is
  // the vocabulary and the fields above are empty; tokenizer_config_json then says bos, eos and their policy.
  std::string tokenizer_json;
  std::string sentencepiece_model;
  std::string tokenizer_config_json;
  std::vector<int64_t> end_ids;  ///< end-of-generation ids that config.json or generation_config.json name
};

/// Bounds on what a vocabulary may contain (reliability.md C1). Printed by `doctor`.
struct TokenizerLimits {
  size_t max_tokens = 1'000'000;
  size_t max_token_bytes = 1024;
  size_t max_text_bytes = 64u << 20;
};

struct EncodeOptions {
  bool add_special = false;    ///< BOS/EOS as the metadata says, never doubled
  bool parse_special = false;  ///< control tokens are recognised everywhere (plain text form only)
  bool prefix_space = true;  ///< false: the text continues another one, so SPM puts no space in front (decisions.md 18)
};

struct Encoded {
  std::vector<TokenId> ids;
  uint64_t dropped_bytes = 0;  ///< bytes that have no token and that the model's own tokenizer drops or replaces
};

/// The control tokens of a fill-in-the-middle prompt: PREFIX text SUFFIX text MIDDLE, then the model writes what belongs
/// between (Bavarian et al., arXiv 2207.14255, the "PSM" order).
struct FillTokens {
  TokenId prefix = 0, suffix = 0, middle = 0;
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Errors: kCorrupt (counts differ, ids out of range, duplicate or empty tokens, merges of absent tokens ...: the
  /// message names the key), kUnsupported (unknown model or pre-tokenizer, with the list of known ones), kTooLarge.
  static Result<std::unique_ptr<Tokenizer>> create(VocabularyData vocabulary, const TokenizerLimits& limits = {});

  /// Encodes rendered text at once: control tokens only where all their bytes are trusted, user-defined tokens
  /// anywhere.
  virtual Result<Encoded> encode(const TrustedText& text, const EncodeOptions& options) const = 0;
  Result<Encoded> encode(std::string_view text, const EncodeOptions& options) const {
    return encode(TrustedText(text, options.parse_special), options);
  }

  /// Bytes of one token as they appear in text (SPM space markers resolved); empty for control tokens unless asked.
  /// Not necessarily valid UTF-8 by itself. `id` must be valid().
  virtual std::string_view token_bytes(TokenId id) const = 0;
  /// The token as written in the vocabulary, for people and for control tokens ("<|im_end|>").
  virtual std::string_view token_text(TokenId id) const = 0;
  virtual TokenKind kind(TokenId id) const = 0;
  virtual size_t vocab_size() const noexcept = 0;
  bool valid(int64_t id) const noexcept { return id >= 0 && static_cast<uint64_t>(id) < vocab_size(); }

  /// All ids to text. `special`: control tokens are written as their text, else left out. SPM: the first token's
  /// leading space is removed if the model adds one. Errors: kInvalidArgument for an id outside the vocabulary.
  virtual Result<std::string> decode(std::span<const TokenId> ids, bool special) const = 0;

  virtual std::optional<TokenId> bos() const noexcept = 0;
  virtual std::optional<TokenId> eos() const noexcept = 0;
  virtual bool adds_bos() const noexcept = 0;
  /// End-of-generation ids: eos, eot, eom and the well-known end-of-turn tokens that the vocabulary names.
  virtual std::span<const TokenId> end_tokens() const noexcept = 0;
  /// As the metadata names them, else the well-known texts; nothing for a model that was not trained to fill in.
  virtual std::optional<FillTokens> fill_tokens() const noexcept { return std::nullopt; }
  /// The id of a token by its exact vocabulary text.
  virtual std::optional<TokenId> find(std::string_view token_text) const = 0;
};

}  // namespace kvasir
