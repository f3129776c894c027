// The op and model tests' backends: the real GPU, with kernels overlapping and without.
#include <stdexcept>

#include "backends/registry.h"
#include "tests/cuda/gpu_check/gpu.h"
#include "tests/kernels/kernel_lab.h"
#include "tests/model/runner.h"

namespace kvasir::test {

std::unique_ptr<cuda::CudaBackend> open_gpu(const GpuOptions& options) {
  auto device = cuda::open_cuda_device(0);
  if (!device) throw std::runtime_error(device.error().message);
  cuda::CudaOptions settings;
  settings.stream.activations = options.activations;
  settings.stream.graphs = options.graphs;
  settings.stream.overlap = options.overlap;
  settings.stream.prompts = options.prompts;
  const std::string name = (*device)->facts().name;
  return std::make_unique<cuda::CudaBackend>(*std::move(device), settings, BackendInfo{"cuda", name, "kvasir-gpu-check", 1, cuda::kCudaNumerics});
}

std::vector<std::string> usable_variants() { return {"cuda", "cuda without overlap"}; }

std::unique_ptr<Backend> open_cpu(std::string_view name, uint32_t, Activations activations) {
  // The library rounds to 16 bits: the exact tests are not for it (product_test.cpp is).
  return open_gpu({.activations = activations,
                   .overlap = name.find("without overlap") == name.npos ? cuda::StepProgram::Overlap::kKernels : cuda::StepProgram::Overlap::kNone,
                   .prompts = name.find("library") == name.npos ? cuda::Prompts::kExact : cuda::Prompts::kHalf});
}

std::vector<std::string> usable_cpu_backends() { return {"cuda"}; }

std::unique_ptr<Backend> open_backend(const std::string& name, const BackendOptions& options) {
  if (name == "reference") return make_reference_backend(options);
  return open_gpu({.activations = options.activations});
}

}  // namespace kvasir::test
