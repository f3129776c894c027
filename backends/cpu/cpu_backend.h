// The CPU backend: weights in panels, one team of threads, the best kernel table that this CPU runs. Made through
// backends/registry.h (make_cpu_backend, probe_cpu_backends). Owned by the engine; streams and pools must die first.
#pragma once

#include "backends/backend.h"
#include "backends/cpu/kernel_table.h"
#include "backends/cpu/packed_cache.h"
#include "backends/cpu/parallel.h"
#include "backends/cpu/weight_memory.h"
#include "backends/weight_cache.h"

namespace kvasir::cpu {

class CpuBackend final : public Backend, public WeightCache {
 public:
  CpuBackend(BackendInfo info, const KernelTable& kernels, std::unique_ptr<Team> team, Activations activations)
      : info_(std::move(info)), kernels_(kernels), team_(std::move(team)), activations_(activations) {}

  const BackendInfo& info() const noexcept override { return info_; }
  DevicePeaks measure_peaks() override;
  Result<std::unique_ptr<Weight>> upload(const HostTensor& tensor, WeightUse use) override;
  Result<std::unique_ptr<KvPool>> create_kv_pool(const KvPoolSpec& spec) override;
  Result<std::unique_ptr<Stream>> open_stream(const StreamLimits& limits) override;

  void keep_weights_in(const std::string& folder) override;
  std::optional<std::string> begin_weights(const std::string& identity) override {
    return cache_ ? cache_->begin(identity) : std::nullopt;
  }
  void finish_weights(const std::string& note) override {
    if (cache_) cache_->finish(note);
  }

  const KernelTable& kernels() const noexcept { return kernels_; }  ///< for tests and benchmarks

 private:
  BackendInfo info_;
  KernelTable kernels_;
  std::unique_ptr<Team> team_;
  WeightMemory weights_;
  Activations activations_;
  std::unique_ptr<PackedCache> cache_;  ///< null: none
};

}  // namespace kvasir::cpu
