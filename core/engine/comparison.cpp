#include "core/engine/comparison.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace kvasir {
namespace {

constexpr uint32_t kMostScored = 1024;  // rows of log-probabilities that are kept meanwhile

std::vector<float> log_softmax(std::span<const float> logits) {
  const double largest = static_cast<double>(*std::ranges::max_element(logits));
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - largest);
  const double shift = largest + std::log(sum);
  std::vector<float> out(logits.size());
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(static_cast<double>(logits[i]) - shift);
  return out;
}

size_t likeliest(const std::vector<float>& row) { return static_cast<size_t>(std::ranges::max_element(row) - row.begin()); }

}  // namespace

void Comparison::accept(uint32_t index, std::span<const float> logits) {
  const TokenId next = context().tokens[size_t{index} + 1];
  std::vector<float> row = log_softmax(logits);
  const auto logprob = static_cast<double>(row[static_cast<size_t>(next)]);
  if (!second_) {
    sums_.nll_full -= logprob;
    full_.push_back(std::move(row));
    return;
  }
  sums_.nll_other -= logprob;
  const std::vector<float> full = std::exchange(full_[divergences_.size()], {});
  double divergence = 0;
  for (size_t i = 0; i < row.size(); ++i) {
    divergence += std::exp(static_cast<double>(full[i])) * (static_cast<double>(full[i]) - static_cast<double>(row[i]));
  }
  divergences_.push_back(std::max(0.0, divergence));
  agreed_ += likeliest(full) == likeliest(row) ? 1 : 0;
}

CompareResult Comparison::result() const {
  CompareResult out = sums_;
  out.id = request_.id;
  out.scored = divergences_.size();
  if (divergences_.empty()) return out;
  std::vector<double> sorted = divergences_;
  std::ranges::sort(sorted);
  const auto count = static_cast<double>(sorted.size());
  for (const double divergence : sorted) out.kl_mean += divergence / count;
  out.kl_p95 = sorted[std::min(sorted.size() - 1, sorted.size() * 95 / 100)];
  out.top1_agree = static_cast<double>(agreed_) / count;
  return out;
}

Result<void> check_comparison(const CompareContexts& request) {
  const uint32_t scored = request.scored;
  for (const auto* context : {&request.full, &request.other}) {
    const size_t base = context->stages.empty() ? 0 : context->stages.back().edit.kept_tokens;
    if (scored == 0 || scored > kMostScored || context->tokens.size() < base + scored + 1) {
      return Failure{Code::kInvalidArgument, "cannot score " + std::to_string(scored) + " tokens of a context of " +
                                                 std::to_string(context->tokens.size()) + ", " + std::to_string(base) +
                                                 " of them compressed"};
    }
  }
  const auto tail = [&](const CompareContexts::Context& c) { return std::span(c.tokens).last(scored); };
  if (!std::ranges::equal(tail(request.full), tail(request.other))) {
    return Failure{Code::kInvalidArgument, "the two contexts end in different tokens"};
  }
  return {};
}

}  // namespace kvasir
