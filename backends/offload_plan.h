// Which device holds which layer of a model: whole layers in order, the first ones on the GPUs (each takes a run of
// layers), what does not fit on the CPU, so that the hidden state crosses each border once per step. Pure; no device is
// touched. The caller shows `reason` to people. Errors: kInvalidArgument (more layers asked for than there are), kTooLarge
// (a number of layers was asked for that does not fit).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.h"

namespace kvasir {

struct OffloadRequest {
  std::vector<uint64_t> layer_bytes;      ///< per layer: weights, and its KV pages and state
  uint64_t embedding_bytes = 0;           ///< the table
  uint64_t head_bytes = 0;                ///< 0: tied to the embedding
  std::vector<uint64_t> free_bytes;       ///< per GPU, in their order
  uint64_t headroom_bytes = 0;            ///< kept free on each (activations, graphs, libraries)
  std::optional<uint32_t> gpu_layers;     ///< asked for; nothing: as many as fit
};

struct OffloadPlan {
  static constexpr uint32_t kCpu = UINT32_MAX;
  std::vector<uint32_t> device_of_layer;  ///< index of a GPU, or kCpu
  uint32_t embedding_device = kCpu;
  uint32_t head_device = kCpu;            ///< where the last layer is, if it fits there
  uint32_t gpu_layers = 0;
  std::vector<uint64_t> used_bytes;       ///< per GPU
  std::string reason;                     ///< "all 32 layers on one GPU", "20 of 32 layers on the GPU: 9.1 of 12.0 GiB ..."
};

Result<OffloadPlan> plan_offload(const OffloadRequest& request);

}  // namespace kvasir
