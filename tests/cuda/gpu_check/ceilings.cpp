// What the machine can do at most, measured first: copies, the price of a kernel in a chain, the way in from the host.
#include <algorithm>
#include <stdexcept>

#include "tests/cuda/gpu_check/gpu.h"

namespace kvasir::test {
namespace {

using cuda::Device;
using cuda::DeviceBuffer;

template <class T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(result).value();
}
void must(Result<void> result) {
  if (!result) throw std::runtime_error(result.error().message);
}

/// Best milliseconds of `runs` runs of `work`, by the device's clock.
template <class Work>
double best_ms(Device& device, int runs, Work work) {
  double best = 1e30;
  for (int i = 0; i <= runs; ++i) {
    must(device.note_time(0));
    work();
    must(device.note_time(1));
    must(device.synchronize());
    if (i > 0) best = std::min(best, must(device.milliseconds(0, 1)));
  }
  return best;
}

/// Microseconds per kernel in a chain of 1000 that do almost nothing.
double chain_us(Device& device, cuda::StepProgram::Overlap overlap, bool graph) {
  const DeviceBuffer memory = must(DeviceBuffer::create(device, DeviceBuffer::Kind::kDevice, 4096));
  must(device.clear(memory.data(), 4096));
  cuda::StepProgram program;
  constexpr int kKernels = 1000;
  for (int i = 0; i < kKernels; ++i) {
    auto& args = program.launch<cuda::ElementArgs>(cuda::KernelId::kElement, {1, 1, 1}, 128);
    args.kind = cuda::Element::kScale;
    args.y = args.x = {reinterpret_cast<float*>(memory.data()), 128, 1, 128};
    args.factor = 1.0F;
  }
  must(program.enqueue(device, overlap));
  must(device.synchronize());
  if (!graph) return best_ms(device, 3, [&] { must(program.enqueue(device, overlap)); }) * 1000 / kKernels;
  must(device.begin_capture());
  must(program.enqueue(device, overlap));
  const auto captured = must(device.end_capture());
  return best_ms(device, 5, [&] { must(device.replay(*captured)); }) * 1000 / kKernels;
}

}  // namespace

Ceilings measure_ceilings(Report& report) {
  Ceilings out;
  const auto backend = open_gpu({});
  Device& device = backend->device();
  const uint64_t bytes = std::min<uint64_t>(uint64_t{4} << 30, must(device.memory()).free_bytes / 4);
  {
    const DeviceBuffer a = must(DeviceBuffer::create(device, DeviceBuffer::Kind::kDevice, bytes));
    const DeviceBuffer b = must(DeviceBuffer::create(device, DeviceBuffer::Kind::kDevice, bytes));
    must(device.clear(a.data(), bytes));
    const double ms = best_ms(device, 5, [&] { must(device.copy_within(b.data(), a.data(), bytes)); });
    out.copy_gb_s = 2.0 * static_cast<double>(bytes) / ms / 1e6;
    report.line("ceiling", "copy, device to device", out.copy_gb_s, "GB/s", "read plus written");
    const uint64_t some = std::min<uint64_t>(bytes, uint64_t{256} << 20);
    const DeviceBuffer host = must(DeviceBuffer::create(device, DeviceBuffer::Kind::kPinned, some));
    const double in = best_ms(device, 3, [&] { must(device.copy_in(a.data(), host.data(), some)); });
    report.line("ceiling", "copy, pinned host to device", static_cast<double>(some) / in / 1e6, "GB/s");
  }
  using Overlap = cuda::StepProgram::Overlap;
  report.line("ceiling", "kernel in a chain, one by one", chain_us(device, Overlap::kNone, false), "us");
  report.line("ceiling", "kernel in a chain, graph", chain_us(device, Overlap::kNone, true), "us", "assumed: 1.3 and a ramp of 2");
  report.line("ceiling", "kernel in a chain, graph and overlap", chain_us(device, Overlap::kKernels, true), "us", "assumed: 1.2 with its ramp");
  return out;
}

}  // namespace kvasir::test
