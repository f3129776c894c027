// The backend over any Device: the real GPU in the plugin, the emulator in tests. Owns the device. Engine thread only.
#pragma once

#include <memory>

#include "backends/backend.h"
#include "backends/cuda/cuda_stream.h"
#include "backends/cuda/cuda_weight.h"
#include "backends/cuda/device.h"

namespace kvasir::cuda {

struct CudaOptions {
  StreamOptions stream;
  uint64_t slab_bytes = uint64_t{256} << 20;       ///< allocations that weights share; 0: one each
  uint64_t headroom_bytes = uint64_t{512} << 20;   ///< left free for graphs, libraries and the activations
  uint64_t copy_bytes = UINT64_MAX;                ///< at most for weights decoded to f16; 0: long steps decode what they multiply
};

class CudaBackend final : public Backend {
 public:
  CudaBackend(std::unique_ptr<Device> device, const CudaOptions& options, BackendInfo info);

  const BackendInfo& info() const noexcept override { return info_; }
  std::optional<uint64_t> free_memory_bytes() override;
  Result<std::unique_ptr<Weight>> upload(const HostTensor& tensor, WeightUse use) override;
  Result<std::unique_ptr<KvPool>> create_kv_pool(const KvPoolSpec& spec) override;
  /// Errors: kBackend once the device is lost: the engine that asks then unloads, the server stays.
  Result<std::unique_ptr<Stream>> open_stream(const StreamLimits& limits) override;

  Device& device() noexcept { return *device_; }
  /// Bytes of weights decoded to f16 for long steps.
  uint64_t copy_bytes() const noexcept { return copies_.bytes(); }

 private:
  std::unique_ptr<Device> device_;
  CudaOptions options_;
  BackendInfo info_;
  WeightStore weights_;
  HalfCopies copies_;
};

/// Bumped when any kernel changes its bits.
constexpr uint32_t kCudaNumerics = 2;

}  // namespace kvasir::cuda
