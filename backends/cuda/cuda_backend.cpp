#include "backends/cuda/cuda_backend.h"

namespace kvasir::cuda {

CudaBackend::CudaBackend(std::unique_ptr<Device> device, const CudaOptions& options, BackendInfo info)
    : device_(std::move(device)), options_(options), info_(std::move(info)), weights_(*device_, options.slab_bytes),
      copies_(*device_, options.copy_bytes, options.headroom_bytes + device_->facts().memory_bytes / 8) {}

Result<std::unique_ptr<Weight>> CudaBackend::upload(const HostTensor& tensor, WeightUse use) { return weights_.upload(tensor, use); }

std::optional<uint64_t> CudaBackend::free_memory_bytes() {
  weights_.release_staging();
  const auto memory = device_->memory();
  if (!memory || memory->free_bytes + copies_.bytes() < options_.headroom_bytes) return 0;
  return memory->free_bytes + copies_.bytes() - options_.headroom_bytes;  // copies give way
}

Result<std::unique_ptr<KvPool>> CudaBackend::create_kv_pool(const KvPoolSpec& spec) {
  weights_.release_staging();
  const uint64_t needed = KVASIR_TRY(kv_pool_bytes(spec));
  MemoryState memory = KVASIR_TRY(device_->memory());
  if (copies_.bytes() > 0 && memory.free_bytes < options_.headroom_bytes + needed) {
    copies_.release();
    memory = KVASIR_TRY(device_->memory());
  }
  if (memory.free_bytes < options_.headroom_bytes || memory.free_bytes - options_.headroom_bytes < needed) {
    return Failure{Code::kTooLarge, "the KV pool needs " + std::to_string(needed >> 20U) + " MiB of GPU memory, " + std::to_string(memory.free_bytes >> 20U) +
                                        " MiB are free (" + std::to_string(options_.headroom_bytes >> 20U) + " of them kept); use a smaller context or --kv-type q8_0"};
  }
  return CudaKvPool::create(*device_, spec);
}

Result<std::unique_ptr<Stream>> CudaBackend::open_stream(const StreamLimits&) {
  weights_.release_staging();
  if (device_->lost()) return Failure{Code::kBackend, "the GPU failed earlier in this process and cannot be used by this engine any more"};
  return std::unique_ptr<Stream>(std::make_unique<CudaStream>(*device_, options_.stream, copies_));
}

}  // namespace kvasir::cuda
