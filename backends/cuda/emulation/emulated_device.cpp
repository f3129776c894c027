#include "backends/cuda/emulation/emulated_device.h"

#include <cstdlib>

namespace kvasir::cuda::emulation {
namespace {

struct EmulatedGraph final : Graph {
  std::vector<std::function<void()>> work;
};

}  // namespace

EmulatedDevice::EmulatedDevice(const EmulatedOptions& options) : options_(options) {
  facts_.name = "emulated GPU";
  facts_.capability = options.capability;
  facts_.multiprocessors = 4;
  facts_.memory_bytes = options.memory_bytes;
  facts_.shared_bytes = 227 << 10;
  list_all_kernels(kernels_);
}

EmulatedDevice::~EmulatedDevice() {
  for (const auto& [memory, bytes] : blocks_) std::free(memory);
}

Result<MemoryState> EmulatedDevice::memory() { return MemoryState{options_.memory_bytes - allocated_, options_.memory_bytes}; }

Result<void*> EmulatedDevice::allocate(uint64_t bytes) {
  if (capturing_) return Failure{Code::kBackend, "emulated GPU: allocation inside a capture"};
  if (bytes > options_.memory_bytes - allocated_) return Failure{Code::kTooLarge, "emulated GPU: out of memory"};
  void* memory = nullptr;
  if (posix_memalign(&memory, 256, bytes == 0 ? 1 : bytes) != 0) return Failure{Code::kTooLarge, "emulated GPU: out of memory"};
  std::memset(memory, 0xFF, bytes < (uint64_t{64} << 20) ? bytes : 0);  // NaN; large ones stay untouched pages
  blocks_[memory] = bytes;
  allocated_ += bytes;
  ++allocations_;
  return memory;
}

void EmulatedDevice::release(void* memory) noexcept {
  const auto found = blocks_.find(memory);
  if (found == blocks_.end()) std::abort();  // not ours, or freed twice
  allocated_ -= found->second;
  blocks_.erase(found);
  std::free(memory);
}

void EmulatedDevice::run(std::function<void()> work) {
  if (capturing_) captured_.push_back(std::move(work));
  else work();
}

Result<void> EmulatedDevice::copy(void* to, const void* from, uint64_t bytes) {
  run([=] {
    if (bytes > 0) std::memmove(to, from, bytes);
  });
  return {};
}

Result<void> EmulatedDevice::clear(void* memory, uint64_t bytes) {
  run([=] { std::memset(memory, 0, bytes); });
  return {};
}

Result<void> EmulatedDevice::launch(const Launch& launch) {
  const KernelEntry& kernel = kernels_[launch.kernel];
  const bool fine = kernel.function != nullptr && launch.grid.x > 0 && launch.grid.y > 0 && launch.grid.y <= 65535 && launch.grid.z > 0 && launch.grid.z <= 65535 &&
                    launch.threads > 0 && launch.threads <= 1024 && launch.threads % 32 == 0 && launch.shared_bytes <= facts_.shared_bytes;
  if (!fine) return Failure{Code::kBackend, std::string("emulated GPU: invalid launch of ") + (kernel.name != nullptr ? kernel.name : "an unknown kernel")};
  std::vector<uint64_t> args((kernel.args_bytes + 7) / 8);  // the device takes its own copy
  std::memcpy(args.data(), launch.args, kernel.args_bytes);
  const GridShape shape{{launch.grid.x, launch.grid.y, launch.grid.z}, launch.threads, launch.shared_bytes};
  auto call = reinterpret_cast<void (*)(const void*)>(const_cast<void*>(kernel.function));
  run([shape, call, args = std::move(args), order = options_.order] { run_grid(shape, call, args.data(), order); });
  return {};
}

Result<void> EmulatedDevice::product(const Product& product) {
  run([p = product] {
    const auto value = [&](const void* from, uint64_t at) {
      const uint16_t bits = static_cast<const uint16_t*>(from)[at];
      return p.bf16 != 0 ? bfloat_to_float(bits) : half_value(bits);
    };
    for (uint32_t c = 0; c < p.columns; ++c) {
      for (uint32_t m = 0; m < p.rows; ++m) {
        float sum = 0.0F;
        for (uint32_t k = 0; k < p.k; ++k) sum += value(p.w, uint64_t{m} * p.k + k) * value(p.x, uint64_t{c} * p.k + k);
        p.y[c * p.y_stride + m] = sum;
      }
    }
  });
  return {};
}

Result<void> EmulatedDevice::synchronize() {
  if (capturing_) return Failure{Code::kBackend, "emulated GPU: wait inside a capture"};
  return {};
}

Result<void> EmulatedDevice::begin_capture() {
  if (capturing_) return Failure{Code::kBackend, "emulated GPU: already capturing"};
  capturing_ = true;
  captured_.clear();
  return {};
}

Result<std::unique_ptr<Graph>> EmulatedDevice::end_capture() {
  if (!capturing_) return Failure{Code::kBackend, "emulated GPU: not capturing"};
  capturing_ = false;
  auto graph = std::make_unique<EmulatedGraph>();
  graph->work = std::move(captured_);
  return std::unique_ptr<Graph>(std::move(graph));
}

Result<void> EmulatedDevice::replay(Graph& graph) {
  for (const auto& work : static_cast<EmulatedGraph&>(graph).work) work();
  return {};
}

}  // namespace kvasir::cuda::emulation
