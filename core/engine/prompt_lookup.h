// Speculation without a second model: what followed the last tokens where they stood before in the same context is a
// guess at what follows now (prompt lookup; Saxena 2023). Guesses are computed as further rows of the same step and
// taken only where the sampler, asked row by row, chooses the very same tokens: the answer cannot depend on them.
//
// PromptLookup makes the guesses of one sequence; GuessPolicy decides how many are worth their rows on this machine,
// from measured steps alone. Both pure: no clock, no thread. Owned by the engine instance; engine thread.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "backends/backend.h"

namespace kvasir {

inline constexpr uint32_t kLookupTokens = 3;  ///< that must have stood before: fewer guess wrong, more guess seldom

class PromptLookup {
 public:
  /// At most `most` tokens that followed the latest earlier place of the last kLookupTokens of `tokens`; empty if there
  /// is none. `tokens` is what it was in the last call and more.
  std::span<const TokenId> guess(std::span<const TokenId> tokens, uint32_t most);

  /// The next token that came: each right guess of the last call counts, and the first wrong one. To be told also while
  /// no rows are spent on guesses, so that a passage that repeats is noticed for free.
  void learn(TokenId token);
  /// Of late, the share of guesses that were right.
  double right_share() const noexcept { return right_share_; }

 private:
  using Key = std::array<TokenId, kLookupTokens>;
  struct KeyHash {
    size_t operator()(const Key& key) const noexcept;
  };
  std::unordered_map<Key, uint32_t, KeyHash> after_;  // index of the token behind the latest such place
  uint32_t indexed_ = kLookupTokens;                  // tokens whose places are known
  std::vector<TokenId> guesses_;  // that learn() did not see yet, the next one last
  double right_share_ = 0.5;
};

class GuessPolicy {
 public:
  explicit GuessPolicy(uint32_t most) : most_(most) {}
  /// How many guesses make the most tokens per millisecond if each is right with this probability.
  uint32_t worth(double right_share) const noexcept;
  /// A step of one decoding sequence with so many rows (1: no guess) took so long.
  void measured(uint32_t rows, double ms) noexcept;

 private:
  uint32_t most_;
  double row_ms_ = 0;        // a step of one row; 0: not known yet
  double extra_row_ms_ = 0;  // each further row
  bool extra_known_ = false;
};

}  // namespace kvasir
