// BPE over characters with a marker for spaces: SentencePiece's BPE ("SPM": joins by the score of the joined piece) and
// Gemma 4's (joins by ranked merges). Characters without a token fall back to byte tokens, or to <unk>.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/text/merge_table.h"
#include "core/text/spaced_tokenizer.h"

namespace kvasir::text {

struct CharBpeOptions {
  SpaceRules spaces = {};
  bool fuse_unknown = true;  ///< neighbouring unknown characters of a word are one <unk>
  Normalizer normalizer = {};
};

class CharBpe final : public SpacedTokenizer {
 public:
  /// SPM: `scores` has one finite or infinite number per token, no NaN (checked by the caller).
  CharBpe(TokenizerParts parts, const std::vector<float>& scores, CharBpeOptions options);
  /// Ranked merges.
  CharBpe(TokenizerParts parts, MergeTable merges, CharBpeOptions options);

 private:
  void encode_run(std::string_view text, Workspace& work, Encoded& out) const override;
  void encode_marked(std::string_view text, Workspace& work, Encoded& out) const;
  std::string known_characters(std::string_view text, Encoded& out) const;
  void merge_word(std::string_view word, Workspace& work, Encoded& out) const;
  void emit(const Symbol& symbol, Workspace& work, Encoded& out) const;
  void find_byte_tokens();
  TokenId character_token(std::string_view character) const noexcept;
  void find_crossings();
  bool crosses(uint8_t left, uint8_t right) const noexcept {
    return (crossings_[size_t{left} * 4 + right / 64] >> (right % 64) & 1u) != 0;
  }
  Join join_by_score(const Symbol& left, const Symbol& right, const std::string& text) const noexcept;

  bool fuse_unknown_ = true;
  bool drops_unknown_ = false;  ///< there is neither <unk> nor byte fallback
  std::optional<MergeTable> merges_;
  std::vector<uint32_t> ranks_;  ///< by token, from the scores; empty with merges
  std::array<TokenId, 256> byte_tokens_{};
  std::array<TokenId, 128> ascii_tokens_{};
  /// Bit (a, b): some token has a character that ends in byte a before one that begins with byte b (spaces count as
  /// 0xFF). Where no token does, no merge can ever cross, and the text may be cut there: words can be cached.
  std::array<uint64_t, 1024> crossings_{};
};

}  // namespace kvasir::text
