// Unigram tokenizers (T5, XLM-R): of all ways to cut a text into known pieces, the one with the highest sum of scores.
#pragma once

#include <array>
#include <vector>

#include "core/text/byte_trie.h"
#include "core/text/spaced_tokenizer.h"

namespace kvasir::text {

/// Which tokens may come out of ordinary text, and count for the score of unknown characters: for SentencePiece the
/// normal ones; for the tokenizers library all that the model has, byte tokens as their text too (control tokens count,
/// but never come out).
enum class UnigramPieces : uint8_t { kNormal, kAll };

class Unigram final : public SpacedTokenizer {
 public:
  /// `scores`: one finite number per token (checked by the caller). Needs policy.unknown.
  Unigram(TokenizerParts parts, std::vector<double> scores, UnigramPieces which, SpaceRules spaces,
          Normalizer normalizer);

 private:
  /// The best way to reach a place in the word.
  struct Arrival {
    double score = 0;
    uint32_t from = 0;
    TokenId id = -1;
    bool reached = false;
  };
  void encode_run(std::string_view text, Workspace& work, Encoded& out) const override;
  void cut_word(std::string_view word, Workspace& work, Encoded& out) const;
  bool is_piece(TokenId id) const noexcept;
  void emit_unknown(std::string_view bytes, Workspace& work, Encoded& out) const;

  std::vector<double> scores_;
  UnigramPieces which_;
  ByteTrie pieces_;
  std::vector<TokenId> ids_;  ///< by entry of the trie
  std::array<TokenId, 256> byte_tokens_{};
  double unknown_score_ = 0;
};

}  // namespace kvasir::text
