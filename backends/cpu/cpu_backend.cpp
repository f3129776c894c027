#include "backends/cpu/cpu_backend.h"

#include <algorithm>
#include <atomic>
#include <chrono>

#include "backends/cpu/cpu_kv_pool.h"
#include "backends/cpu/cpu_stream.h"
#include "backends/cpu/cpu_weight.h"

namespace kvasir::cpu {
namespace {

/// The best of several short runs of `kernel` on all threads, in 1e9 operations per second.
double peak_of(uint64_t (*kernel)(uint32_t), Team& team) {
  if (kernel == nullptr) return 0;
  constexpr uint32_t kRounds = 20'000;
  constexpr int kRuns = 20;
  double best = 0;
  for (int i = 0; i < kRuns; ++i) {
    std::atomic<uint64_t> operations{0};
    const auto begin = std::chrono::steady_clock::now();
    team.run([&](const Worker&) { operations += kernel(kRounds); });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    best = std::max(best, static_cast<double>(operations) / seconds.count() / 1e9);
  }
  return best;
}

}  // namespace

DevicePeaks CpuBackend::measure_peaks() {
  return {peak_of(kernels_.peak_int8, *team_), peak_of(kernels_.peak_f32, *team_), peak_of(kernels_.peak_bf16, *team_)};
}

void CpuBackend::keep_weights_in(const std::string& folder) {
  const std::string table = info_.name + " " + std::to_string(info_.numerics_version);
  cache_ = std::make_unique<PackedCache>(folder, table, *team_);
}

Result<std::unique_ptr<Weight>> CpuBackend::upload(const HostTensor& tensor, WeightUse use) {
  return std::unique_ptr<Weight>(KVASIR_TRY(CpuWeight::create(tensor, use, kernels_, *team_, weights_, cache_.get())));
}

Result<std::unique_ptr<KvPool>> CpuBackend::create_kv_pool(const KvPoolSpec& spec) {
  return std::unique_ptr<KvPool>(KVASIR_TRY(CpuKvPool::create(spec, kernels_)));
}

Result<std::unique_ptr<Stream>> CpuBackend::open_stream(const StreamLimits&) {
  return std::unique_ptr<Stream>(std::make_unique<CpuStream>(kernels_, *team_, activations_));
}

}  // namespace kvasir::cpu
