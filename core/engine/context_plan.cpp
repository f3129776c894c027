#include "core/engine/context_plan.h"

#include <algorithm>

namespace kvasir {
namespace {

// By itself Kvasir takes a quarter of the free memory for KV; who asks for a context may have most of it.
constexpr uint64_t kDefaultShareDivisor = 4;
constexpr uint64_t kAskedSharePercent = 80;
constexpr uint32_t kSmallestContext = 256;
constexpr uint32_t kLargestContext = 1U << 24;
// Room for several conversations: so many full contexts, or so many tokens where contexts are short.
constexpr uint64_t kPoolContexts = 4;
constexpr uint64_t kPoolTokens = 32768;

std::string mebibytes(uint64_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

}  // namespace

uint64_t kv_bytes(KvType type, uint64_t values) noexcept {
  switch (type) {
    case KvType::kF16: return values * 2;
    case KvType::kF32: return values * 4;
    case KvType::kQ8_0: return values / 32 * 34 + (values % 32 != 0 ? 34 : 0);
  }
  return values * 4;
}

KvCost kv_cost(const KvPoolSpec& spec, std::span<const uint32_t> windows) {
  KvCost cost;
  for (const KvLayerSpec& layer : spec.layers) {
    const uint64_t bytes = kv_bytes(spec.type, uint64_t{layer.n_kv_heads} * (uint64_t{layer.k_dim} + layer.v_dim));
    if (layer.group < windows.size() && windows[layer.group] > 0) {
      cost.fixed_bytes += bytes * spec.group_pages[layer.group] * kPageTokens;
    } else {
      cost.bytes_per_token += bytes;
    }
  }
  for (const uint64_t floats : spec.state_floats) cost.fixed_bytes += floats * sizeof(float) * spec.state_slots;
  return cost;
}

Result<ContextPlan> plan_context(const ContextRequest& request) {
  const uint32_t model_max = std::clamp(request.model_max, 1U, kLargestContext);
  const uint32_t wanted = request.asked > 0 ? std::min(request.asked, model_max) : model_max;
  const uint64_t share = request.asked > 0 ? request.available_bytes / 100 * kAskedSharePercent
                                           : request.available_bytes / kDefaultShareDivisor;
  const uint64_t budget = share - std::min(share, request.fixed_bytes);
  const uint64_t per_token = std::max<uint64_t>(1, request.bytes_per_token);
  const uint64_t fits = std::min<uint64_t>(budget / per_token, kLargestContext) / kPageTokens * kPageTokens;
  ContextPlan plan;
  plan.context = static_cast<uint32_t>(std::min<uint64_t>(wanted, fits));
  if (plan.context < std::min(wanted, kSmallestContext)) {
    return Failure{Code::kUnavailable,
                   "not enough memory for the KV cache: " + std::to_string(std::min(wanted, kSmallestContext)) +
                       " tokens take " + mebibytes(request.fixed_bytes + per_token * kSmallestContext) + ", " +
                       mebibytes(share) + " may be used of " + mebibytes(request.available_bytes) + " free"};
  }
  if (plan.context < wanted) {
    plan.reason = "memory: " + std::to_string(wanted) + " tokens of KV take " + mebibytes(wanted * per_token) + ", " +
                  mebibytes(budget) + " may be used of " + mebibytes(request.available_bytes) + " free";
  } else if (request.asked > model_max) {
    plan.reason = std::to_string(request.asked) + " tokens were asked for; the model was made for " + std::to_string(model_max);
  } else if (wanted < model_max) {
    plan.reason = "as asked";
  }
  const uint64_t roomy = std::max(kPoolContexts * plan.context, kPoolTokens);
  const uint64_t useful = std::min(roomy, uint64_t{plan.context} * std::max(1U, request.max_sequences));
  plan.pool_tokens = static_cast<uint32_t>(std::max<uint64_t>(plan.context, std::min(useful, fits)));
  return plan;
}

}  // namespace kvasir
