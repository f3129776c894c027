// A Device that does what another one does until its n-th fallible call, which fails: once, or (sticky) with everything
// after it. Counts what was allocated and not released.
#pragma once

#include "backends/cuda/device.h"

namespace kvasir::test {

struct FailurePlan {
  uint64_t calls = 0;            ///< made so far
  uint64_t fail_at = UINT64_MAX; ///< 0 is the first call
  bool sticky = false;
  bool out_of_memory = false;    ///< fail as an allocation would
  bool lost = false;
  uint64_t live = 0;             ///< allocations not released
};

class FailingDevice final : public cuda::Device {
 public:
  FailingDevice(std::unique_ptr<cuda::Device> inner, FailurePlan& plan) : inner_(std::move(inner)), plan_(plan) {}

  const cuda::DeviceFacts& facts() const noexcept override { return inner_->facts(); }
  bool lost() const noexcept override { return plan_.lost; }
  Result<cuda::MemoryState> memory() override {
    KVASIR_TRY(step());
    return inner_->memory();
  }
  Result<void*> allocate(uint64_t bytes) override {
    KVASIR_TRY(step());
    void* memory = KVASIR_TRY(inner_->allocate(bytes));
    ++plan_.live;
    return memory;
  }
  void release(void* memory) noexcept override { --plan_.live, inner_->release(memory); }
  Result<void*> allocate_pinned(uint64_t bytes) override { return allocate(bytes); }
  void release_pinned(void* memory) noexcept override { release(memory); }
  Result<void> copy_in(void* to, const void* from, uint64_t bytes) override {
    KVASIR_TRY(step());
    return inner_->copy_in(to, from, bytes);
  }
  Result<void> copy_out(void* to, const void* from, uint64_t bytes) override {
    KVASIR_TRY(step());
    return inner_->copy_out(to, from, bytes);
  }
  Result<void> copy_within(void* to, const void* from, uint64_t bytes) override {
    KVASIR_TRY(step());
    return inner_->copy_within(to, from, bytes);
  }
  Result<void> clear(void* memory, uint64_t bytes) override {
    KVASIR_TRY(step());
    return inner_->clear(memory, bytes);
  }
  Result<void> launch(const cuda::Launch& launch) override {
    KVASIR_TRY(step());
    return inner_->launch(launch);
  }
  Result<void> synchronize() override {
    KVASIR_TRY(step());
    return inner_->synchronize();
  }
  bool has_products() noexcept override { return inner_->has_products(); }
  Result<void> product(const cuda::Product& product) override {
    KVASIR_TRY(step());
    return inner_->product(product);
  }
  Result<void> begin_capture() override {
    KVASIR_TRY(step());
    return inner_->begin_capture();
  }
  Result<std::unique_ptr<cuda::Graph>> end_capture() override {
    auto graph = inner_->end_capture();  // a capture always ends, whatever it gives
    KVASIR_TRY(step());
    return graph;
  }
  Result<void> replay(cuda::Graph& graph) override {
    KVASIR_TRY(step());
    return inner_->replay(graph);
  }
  Result<void> note_time(uint32_t place) override { return inner_->note_time(place); }
  Result<double> milliseconds(uint32_t from, uint32_t to) override { return inner_->milliseconds(from, to); }

 private:
  Result<void> step() {
    if (plan_.lost) return Failure{Code::kBackend, "planned: the GPU was lost"};
    if (plan_.calls++ != plan_.fail_at) return {};
    plan_.lost = plan_.sticky;
    return Failure{plan_.out_of_memory ? Code::kTooLarge : Code::kBackend, "planned failure"};
  }

  std::unique_ptr<cuda::Device> inner_;
  FailurePlan& plan_;
};

}  // namespace kvasir::test
