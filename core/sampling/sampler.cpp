#include "core/sampling/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/sampling/philox.h"

namespace kvasir {
namespace {

using Choice = std::pair<float, TokenId>;

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

/// The one order of candidates: higher logit first, lower id on ties.
bool better(const Choice& a, const Choice& b) noexcept {
  return a.first != b.first ? a.first > b.first : a.second < b.second;
}

bool in_vocab(TokenId token, size_t vocab_size) noexcept {
  return token >= 0 && static_cast<size_t>(token) < vocab_size;
}

/// A huge penalty or bias must not make +inf out of a finite logit: softmax would have no value there.
float bounded(float logit) noexcept {
  return std::min(logit, std::numeric_limits<float>::max());
}

/// A model never gives NaN or +inf; -inf is a masked token.
Result<void> check_logit(float logit, size_t token) {
  if (!std::isnan(logit) && logit != std::numeric_limits<float>::infinity()) return {};
  return Failure{Code::kBackend, "the model gave " + std::string(std::isnan(logit) ? "NaN" : "+inf") + " as the logit of token " + std::to_string(token)};
}

Failure none_finite() { return {Code::kBackend, "the model gave no finite logit"}; }

Result<void> check_raw(std::span<const float> logits) {
  bool any_finite = false;
  for (size_t i = 0; i < logits.size(); ++i) {
    KVASIR_TRY(check_logit(logits[i], i));
    any_finite = any_finite || logits[i] != kMinusInfinity;
  }
  if (!any_finite) return none_finite();
  return {};
}

void add_bias(std::span<float> logits, const SamplingParams& params) {
  for (const auto& [token, bias] : params.logit_bias) {
    if (!in_vocab(token, logits.size())) continue;
    float& logit = logits[static_cast<size_t>(token)];
    logit = bounded(logit + bias);
  }
}

/// Sorts `tokens` and calls `apply(logit, count)` once per distinct token of the vocabulary.
template <class Apply>
void for_each_distinct(std::vector<TokenId>& tokens, std::span<float> logits, Apply apply) {
  std::sort(tokens.begin(), tokens.end());
  for (auto it = tokens.begin(); it != tokens.end();) {
    const auto end = std::upper_bound(it, tokens.end(), *it);
    if (in_vocab(*it, logits.size())) {
      float& logit = logits[static_cast<size_t>(*it)];
      logit = bounded(apply(logit, static_cast<float>(end - it)));
    }
    it = end;
  }
}

void apply_penalties(std::span<float> logits, const SamplingParams& params, std::span<const TokenId> history,
                     size_t n_output, std::vector<TokenId>& scratch) {
  if (const float r = params.repeat_penalty; r != 1.0F) {
    const auto window = history.last(std::min<size_t>(history.size(), kRepeatWindow));
    scratch.assign(window.begin(), window.end());
    for_each_distinct(scratch, logits, [r](float l, float) { return l > 0.0F ? l / r : l * r; });
  }
  const float frequency = params.frequency_penalty;
  const float presence = params.presence_penalty;
  if (frequency != 0.0F || presence != 0.0F) {
    const auto output = history.last(std::min(history.size(), n_output));
    scratch.assign(output.begin(), output.end());
    for_each_distinct(scratch, logits, [=](float l, float count) { return l - (count * frequency + presence); });
  }
}

/// Smallest best-first prefix whose share of all candidates' mass reaches top_p. Sorts only as far as it has to look.
void keep_top_p(std::vector<Choice>& candidates, size_t sorted, float best, float top_p) {
  double total = 0.0;
  for (const auto& c : candidates) total += std::exp(double{c.first} - double{best});
  const double wanted = double{top_p} * total;
  double mass = 0.0;
  size_t block = 256;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (i >= sorted) {
      const size_t end = std::min(candidates.size(), sorted + block);
      std::partial_sort(candidates.begin() + static_cast<ptrdiff_t>(sorted),
                        candidates.begin() + static_cast<ptrdiff_t>(end), candidates.end(), better);
      sorted = end;
      block *= 4;
    }
    mass += std::exp(double{candidates[i].first} - double{best});
    if (mass >= wanted) {
      candidates.resize(i + 1);
      return;
    }
  }
  // Rounding kept the sum just below the wanted mass: then every candidate stays, all sorted by now.
}

TokenId draw(const std::vector<Choice>& candidates, float best, float temperature, double u) {
  const auto weight = [&](const Choice& c) {
    return std::exp((double{c.first} - double{best}) / double{temperature});
  };
  double total = 0.0;
  for (const auto& c : candidates) total += weight(c);
  const double target = u * total;
  double mass = 0.0;
  TokenId chosen = candidates.front().second;
  for (const auto& c : candidates) {
    const double w = weight(c);
    if (w > 0.0) chosen = c.second;  // u close to 1 may end after the last one: the last possible token then
    mass += w;
    if (mass > target) break;
  }
  return chosen;
}

Result<void> check_range(const char* name, float value, float low, float high) {
  if (value >= low && value <= high) return {};
  return Failure{Code::kInvalidArgument, std::string(name) + " must be between " + std::to_string(low) + " and " +
                                             std::to_string(high) + ", got " + std::to_string(value)};
}

}  // namespace

Result<void> validate(const SamplingParams& params, size_t vocab_size) {
  constexpr float kLargest = 1e6F;
  KVASIR_TRY(check_range("temperature", params.temperature, 0.0F, kLargest));
  KVASIR_TRY(check_range("top_p", params.top_p, 0.0F, 1.0F));
  KVASIR_TRY(check_range("min_p", params.min_p, 0.0F, 1.0F));
  KVASIR_TRY(check_range("repeat_penalty", params.repeat_penalty, 1e-6F, kLargest));
  KVASIR_TRY(check_range("frequency_penalty", params.frequency_penalty, -kLargest, kLargest));
  KVASIR_TRY(check_range("presence_penalty", params.presence_penalty, -kLargest, kLargest));
  if (params.logit_bias.size() > vocab_size) {
    return Failure{Code::kInvalidArgument, "logit_bias has " + std::to_string(params.logit_bias.size()) +
                                               " entries, more than the vocabulary's " + std::to_string(vocab_size)};
  }
  for (const auto& [token, bias] : params.logit_bias) {
    if (!in_vocab(token, vocab_size)) {
      return Failure{Code::kInvalidArgument, "logit_bias names token " + std::to_string(token) +
                                                 ", but the vocabulary has " + std::to_string(vocab_size) + " tokens"};
    }
    if (std::isnan(bias) || bias == std::numeric_limits<float>::infinity()) {
      return Failure{Code::kInvalidArgument,
                     "logit_bias of token " + std::to_string(token) + " must be a number or -inf"};
    }
  }
  return {};
}

Sampler::Sampler(SamplingParams params) : params_(std::move(params)) {}

Result<TokenId> Sampler::sample(std::span<float> logits, std::span<const TokenId> history, size_t n_output,
                                uint64_t position) {
  KVASIR_TRY(check_raw(logits));
  add_bias(logits, params_);
  apply_penalties(logits, params_, history, n_output, token_scratch_);

  // max_element returns the first of equals: the lowest id.
  const auto best_it = std::max_element(logits.begin(), logits.end());
  const float best = *best_it;
  if (best == kMinusInfinity) return Failure{Code::kInvalidArgument, "logit_bias bans every token that was possible"};
  if (params_.temperature == 0.0F) return static_cast<TokenId>(best_it - logits.begin());

  candidates_.clear();
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] != kMinusInfinity) candidates_.emplace_back(logits[i], static_cast<TokenId>(i));
  }
  size_t sorted = 0;
  if (params_.top_k != 0 && params_.top_k < candidates_.size()) {
    sorted = params_.top_k;
    std::partial_sort(candidates_.begin(), candidates_.begin() + static_cast<ptrdiff_t>(sorted), candidates_.end(),
                      better);
    candidates_.resize(sorted);
  }
  return choose(sorted, best, position);
}

/// The draw among candidates_, the first `sorted` of which are in order.
TokenId Sampler::choose(size_t sorted, float best, uint64_t position) {
  if (params_.top_p < 1.0F) keep_top_p(candidates_, sorted, best, params_.top_p);
  if (params_.min_p > 0.0F) {
    const double threshold = double{best} + std::log(double{params_.min_p});
    std::erase_if(candidates_, [threshold](const Choice& c) { return double{c.first} < threshold; });
  }
  return draw(candidates_, best, params_.temperature, uniform_at(params_.seed, position));
}

uint32_t Sampler::candidates() const noexcept {
  const bool neutral = params_.repeat_penalty == 1.0F && params_.frequency_penalty == 0.0F && params_.presence_penalty == 0.0F && params_.logit_bias.empty();
  if (!neutral) return 0;
  if (params_.temperature == 0.0F) return 1;
  return params_.top_k == 0 || params_.top_k == std::numeric_limits<uint32_t>::max() ? 0 : params_.top_k + 1;  // one more tells whether there are more
}

Result<TokenId> Sampler::sample_best(std::span<const Candidate> best, uint64_t position) {
  if (best.empty()) return Failure{Code::kInternal, "no candidates to sample from"};
  KVASIR_TRY(check_logit(best[0].logit, static_cast<size_t>(best[0].id)));  // NaN and +inf come first
  if (best[0].logit == kMinusInfinity) return none_finite();
  if (params_.temperature == 0.0F) return best[0].id;
  candidates_.clear();
  for (const Candidate& c : best) {
    if (c.logit != kMinusInfinity) candidates_.emplace_back(c.logit, c.id);
  }
  const float largest = best[0].logit;
  if (candidates_.size() > params_.top_k) {
    candidates_.resize(params_.top_k);
    return choose(params_.top_k, largest, position);
  }
  // All that are possible: sample() has them by id then, and sums in that order.
  std::ranges::sort(candidates_, {}, &Choice::second);
  return choose(0, largest, position);
}

TokenLogprob logprob_of(std::span<const float> logits, TokenId token, uint32_t top) {
  float best = kMinusInfinity;
  for (const float l : logits) {
    if (l > best) best = l;
  }
  double total = 0.0;
  std::vector<Choice> heap;  // worst of the best in front
  for (size_t i = 0; i < logits.size(); ++i) {
    if (!std::isfinite(logits[i])) continue;
    total += std::exp(double{logits[i]} - double{best});
    if (top == 0) continue;
    const Choice c{logits[i], static_cast<TokenId>(i)};
    if (heap.size() == top) {
      if (!better(c, heap.front())) continue;
      std::pop_heap(heap.begin(), heap.end(), better);
      heap.pop_back();
    }
    heap.push_back(c);
    std::push_heap(heap.begin(), heap.end(), better);
  }
  std::sort_heap(heap.begin(), heap.end(), better);

  const double log_total = std::log(total);
  const auto logprob = [&](float l) {
    return std::isfinite(l) ? static_cast<float>(double{l} - double{best} - log_total) : kMinusInfinity;
  };
  TokenLogprob result;
  result.token = token;
  result.logprob = in_vocab(token, logits.size()) ? logprob(logits[static_cast<size_t>(token)]) : kMinusInfinity;
  result.top.reserve(heap.size());
  for (const auto& [l, id] : heap) result.top.emplace_back(id, logprob(l));
  return result;
}

}  // namespace kvasir
