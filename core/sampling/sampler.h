// From logits to a token: penalties, bias, truncation, temperature, draw. Pure: everything it needs comes in,
// randomness is counter-based from (seed, position), so a parked, forked or restored sequence carries no generator
// state (decisions.md 12). Definitions and default order: samplers.md. Owned by one sequence; engine thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backends/backend.h"  // TokenId
#include "core/base/result.h"

namespace kvasir {

/// Checked sampling parameters (ranges already enforced by the field tables; validate() guards other callers).
struct SamplingParams {
  float temperature = 0.7F;        ///< 0: greedy, lowest id on ties
  uint32_t top_k = 40;             ///< 0: off
  float top_p = 0.95F;             ///< 1: off
  float min_p = 0.05F;             ///< 0: off
  float repeat_penalty = 1.0F;     ///< over the last 64 tokens of prompt and output
  float frequency_penalty = 0.0F;  ///< over the output only
  float presence_penalty = 0.0F;
  std::vector<std::pair<TokenId, float>> logit_bias;
  uint64_t seed = 0;
};
inline constexpr uint32_t kRepeatWindow = 64;

Result<void> validate(const SamplingParams& params, size_t vocab_size);

struct TokenLogprob {
  TokenId token = 0;
  float logprob = 0.0F;  ///< natural log of softmax of the raw logits (before penalties and truncation)
  std::vector<std::pair<TokenId, float>> top;  ///< highest first
};

class Sampler {
 public:
  explicit Sampler(SamplingParams params);
  /// Chooses the token for `position` (its index in the whole sequence). `history` = prompt and output so far,
  /// `n_output` of them output. `logits` is scratch afterwards. Errors: kBackend if a logit
  /// is NaN or +inf, or none is finite; kInvalidArgument if logit_bias bans every token.
  Result<TokenId> sample(std::span<float> logits, std::span<const TokenId> history, size_t n_output, uint64_t position);
  /// How many of the likeliest tokens sample_best() needs to choose as sample() does; 0: it needs all logits (penalties,
  /// bias, a draw among all tokens).
  uint32_t candidates() const noexcept;
  /// The same choice from the row's likeliest tokens, best first, lower id first among equals: candidates() of them, or all
  /// of a smaller vocabulary. Errors: kBackend as sample().
  Result<TokenId> sample_best(std::span<const Candidate> best, uint64_t position);
  const SamplingParams& params() const noexcept { return params_; }

 private:
  TokenId choose(size_t sorted, float best, uint64_t position);

  SamplingParams params_;
  std::vector<std::pair<float, TokenId>> candidates_;  // reused between calls: no allocation per token in steady state
  std::vector<TokenId> token_scratch_;                 // likewise, for the penalties
};

/// Natural-log probability of `token` and the `top` best under softmax(logits). Sums in double.
TokenLogprob logprob_of(std::span<const float> logits, TokenId token, uint32_t top);

}  // namespace kvasir
