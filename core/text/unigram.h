// Unigram tokenizers (T5, XLM-R): of all ways to cut a text into known pieces, the one with the highest sum of scores.
#pragma once

#include <array>
#include <vector>

#include "core/text/byte_trie.h"
#include "core/text/char_bpe.h"  // PrefixSpace
#include "core/text/tokenizer_base.h"

namespace kvasir::text {

struct UnigramOptions {
  PrefixSpace prefix = PrefixSpace::kEverySegment;
  bool prefix_unless_space = true;
  bool remove_extra_whitespaces = false;
  bool split_at_spaces = true;  ///< each space begins a word; else the best cut of the whole segment is searched
  Normalizer normalizer = {};
};

class Unigram final : public TokenizerBase {
 public:
  /// `scores`: one finite number per token (checked by the caller). Needs policy.unknown.
  Unigram(TokenizerParts parts, std::vector<double> scores, UnigramOptions options);

 private:
  /// The best way to reach a place in the word.
  struct Arrival {
    double score = 0;
    uint32_t from = 0;
    TokenId id = -1;
    bool reached = false;
  };
  Result<void> encode_segment(const Segment& segment, Workspace& work, Encoded& out) const override;
  void cut_word(std::string_view word, Workspace& work, Encoded& out) const;
  void emit_unknown(std::string_view bytes, Workspace& work, Encoded& out) const;

  UnigramOptions options_;
  std::vector<double> scores_;
  ByteTrie pieces_;
  std::vector<TokenId> ids_;  ///< by entry of the trie
  std::array<TokenId, 256> byte_tokens_{};
  double unknown_score_ = 0;
};

}  // namespace kvasir::text
