// How many tokens of context an engine offers and how large its KV pool is, from what the model can, what was asked and
// what memory allows. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "backends/backend.h"
#include "core/base/result.h"

namespace kvasir {

struct ContextRequest {
  uint32_t model_max = 0;        ///< what the file says
  uint32_t asked = 0;            ///< 0: nothing asked
  uint64_t bytes_per_token = 0;  ///< of the groups that keep everything; 0: the cache does not grow
  uint64_t fixed_bytes = 0;      ///< windowed groups and recurrent states
  uint64_t available_bytes = 0;
  uint32_t max_sequences = 64;
};
struct ContextPlan {
  uint32_t context = 0;
  uint32_t pool_tokens = 0;  ///< for all sequences together; at least `context`
  std::string reason;        ///< why context is smaller than what the model can; empty if it is not
};

/// Errors: kUnavailable when not even the smallest useful context fits, with the numbers.
Result<ContextPlan> plan_context(const ContextRequest& request);

struct KvCost {
  uint64_t bytes_per_token = 0, fixed_bytes = 0;
};
/// What a pool of this geometry costs. `windows`: per group, 0 keeps everything.
KvCost kv_cost(const KvPoolSpec& spec, std::span<const uint32_t> windows);
/// Bytes that `values` cached numbers take.
uint64_t kv_bytes(KvType type, uint64_t values) noexcept;

}  // namespace kvasir
