#include "backends/cpu/cpu_backend.h"

#include "backends/cpu/cpu_kv_pool.h"
#include "backends/cpu/cpu_stream.h"
#include "backends/cpu/cpu_weight.h"

namespace kvasir::cpu {

Result<std::unique_ptr<Weight>> CpuBackend::upload(const HostTensor& tensor, WeightUse use) {
  return std::unique_ptr<Weight>(KVASIR_TRY(CpuWeight::create(tensor, use, kernels_, *team_)));
}

Result<std::unique_ptr<KvPool>> CpuBackend::create_kv_pool(const KvPoolSpec& spec) {
  return std::unique_ptr<KvPool>(KVASIR_TRY(CpuKvPool::create(spec)));
}

Result<std::unique_ptr<Stream>> CpuBackend::open_stream(const StreamLimits&) {
  return std::unique_ptr<Stream>(std::make_unique<CpuStream>(kernels_, *team_, activations_));
}

}  // namespace kvasir::cpu
