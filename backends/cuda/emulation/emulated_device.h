// A Device that runs every kernel on the CPU, thread by thread (simt_host.h). Device memory is ordinary memory of its own
// allocations, so that a sanitizer sees what a kernel reads outside of them; it is poisoned with NaN when given out.
// For tests only; orders of magnitude slower than anything. Captures record what the queue was asked to do.
#pragma once

#include <functional>
#include <unordered_map>
#include <vector>

#include "backends/cuda/device.h"
#include "backends/cuda/emulation/simt_host.h"

namespace kvasir::cuda::emulation {

struct EmulatedOptions {
  Order order = Order::kForward;
  uint64_t memory_bytes = uint64_t{8} << 30;
  uint32_t capability = 90;
  bool products = true;  ///< stands for a library of products
};

class EmulatedDevice final : public Device {
 public:
  explicit EmulatedDevice(const EmulatedOptions& options = {});
  ~EmulatedDevice() override;

  const DeviceFacts& facts() const noexcept override { return facts_; }
  bool lost() const noexcept override { return false; }
  Result<MemoryState> memory() override;
  Result<void*> allocate(uint64_t bytes) override;
  void release(void* memory) noexcept override;
  Result<void*> allocate_pinned(uint64_t bytes) override { return allocate(bytes); }
  void release_pinned(void* memory) noexcept override { release(memory); }
  Result<void> copy_in(void* to, const void* from_host, uint64_t bytes) override { return copy(to, from_host, bytes); }
  Result<void> copy_out(void* to_host, const void* from, uint64_t bytes) override {
    run([this, bytes] { bytes_out_ += bytes; });
    return copy(to_host, from, bytes);
  }
  Result<void> copy_within(void* to, const void* from, uint64_t bytes) override { return copy(to, from, bytes); }
  Result<void> clear(void* memory, uint64_t bytes) override;
  Result<void> launch(const Launch& launch) override;
  Result<void> synchronize() override;
  bool has_products() noexcept override { return options_.products; }
  Result<void> product(const Product& product) override;
  Result<void> begin_capture() override;
  Result<std::unique_ptr<Graph>> end_capture() override;
  Result<void> replay(Graph& graph) override;
  Result<void> note_time(uint32_t) override { return {}; }
  Result<double> milliseconds(uint32_t, uint32_t) override { return 1.0; }

  uint64_t allocated_bytes() const noexcept { return allocated_; }
  uint64_t allocations() const noexcept { return allocations_; }  ///< ever made
  uint64_t bytes_out() const noexcept { return bytes_out_; }      ///< ever copied to the host

 private:
  Result<void> copy(void* to, const void* from, uint64_t bytes);
  void run(std::function<void()> work);

  EmulatedOptions options_;
  DeviceFacts facts_;
  KernelTable kernels_;
  std::unordered_map<void*, uint64_t> blocks_;
  uint64_t allocated_ = 0, allocations_ = 0, bytes_out_ = 0;
  std::vector<std::function<void()>> captured_;
  bool capturing_ = false;
};

}  // namespace kvasir::cuda::emulation
