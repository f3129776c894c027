// The CUDA backend on the emulated device, for kernel_lab.h.
#pragma once

#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/emulation/emulated_device.h"
#include "tests/kernels/kernel_lab.h"

namespace kvasir::test {

inline std::unique_ptr<Backend> open_emulated(Activations activations = Activations::kAuto, cuda::emulation::EmulatedOptions device = {},
                                              cuda::GraphRunner::Mode graphs = cuda::GraphRunner::Mode::kGraphs,
                                              cuda::Prompts prompts = cuda::Prompts::kHalf) {
  cuda::CudaOptions options;
  options.stream = {.activations = activations, .graphs = graphs, .prompts = prompts, .arena_bytes = 4096, .mirror_bytes = 1024};
  options.slab_bytes = 0;  // a block for each weight, so that sanitizers see its ends
  return std::make_unique<cuda::CudaBackend>(std::make_unique<cuda::emulation::EmulatedDevice>(device), options, BackendInfo{"cuda", "emulated", "for tests", 1, cuda::kCudaNumerics});
}

}  // namespace kvasir::test
