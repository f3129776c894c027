#include "core/engine/sampling_defaults.h"

#include <random>

namespace kvasir {

SamplingParams resolve_sampling(const SamplingRequest& request, const RecommendedSampling& recommended,
                                uint64_t drawn_seed) {
  SamplingParams params;
  const auto pick = [](const auto& asked, const auto& advised, auto& value) {
    if (asked) {
      value = *asked;
    } else if (advised) {
      value = *advised;
    }
  };
  pick(request.temperature, recommended.temperature, params.temperature);
  pick(request.top_k, recommended.top_k, params.top_k);
  pick(request.top_p, recommended.top_p, params.top_p);
  pick(request.min_p, recommended.min_p, params.min_p);
  pick(request.repeat_penalty, recommended.repeat_penalty, params.repeat_penalty);
  params.frequency_penalty = request.frequency_penalty.value_or(params.frequency_penalty);
  params.presence_penalty = request.presence_penalty.value_or(params.presence_penalty);
  params.logit_bias = request.logit_bias;
  params.seed = request.seed.value_or(drawn_seed);
  return params;
}

uint64_t draw_seed() {
  std::random_device device;
  const uint64_t high = device();
  const uint64_t low = device();
  return ((high << 32) | low) & ((uint64_t{1} << 53) - 1);
}

}  // namespace kvasir
