// Two contexts compared by what they make of the same tokens: likelihood, divergence over the whole vocabulary, likeliest
// token. First the full context's rows come in, then the other's. Owned by an EngineInstance; engine thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/engine/messages.h"

namespace kvasir {

class Comparison {
 public:
  explicit Comparison(CompareContexts request) : request_(std::move(request)) {}

  /// The context whose rows come now.
  const CompareContexts::Context& context() const noexcept { return second_ ? request_.other : request_.full; }
  /// Index of the first token of context() whose row is wanted.
  uint32_t first_row() const noexcept { return static_cast<uint32_t>(context().tokens.size()) - request_.scored - 1; }
  /// The logits of the row of token `index` of context().
  void accept(uint32_t index, std::span<const float> logits);
  /// After the last row of a context: whether another one follows.
  bool go_on() noexcept { return !std::exchange(second_, true); }
  CompareResult result() const;

 private:
  CompareContexts request_;
  bool second_ = false;
  std::vector<std::vector<float>> full_;  // log-probabilities; emptied row by row
  CompareResult sums_;
  std::vector<double> divergences_;
  uint64_t agreed_ = 0;
};

/// Errors: kInvalidArgument: nothing to score, more than the contexts have, or different tokens.
Result<void> check_comparison(const CompareContexts& request);

}  // namespace kvasir
