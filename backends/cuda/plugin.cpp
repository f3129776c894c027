// libkvasir_cuda.so: the one exported symbol. Settings are read from the environment, since they are for measuring:
// KVASIR_CUDA_DEVICE (0), KVASIR_CUDA_GRAPHS=0, KVASIR_CUDA_PDL=0, KVASIR_CUDA_HALF=0, KVASIR_CUDA_COPIES=0 (MiB of
// weights decoded to f16 at most).
#include "backends/plugin_abi.h"

#include <algorithm>
#include <charconv>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <new>

#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/cuda_device.h"

namespace kvasir::cuda {
namespace {

constexpr const char* kDeviceSetting = "KVASIR_CUDA_DEVICE";

int setting(const char* name, int fallback) noexcept {
  const char* text = std::getenv(name);
  if (text == nullptr) return fallback;
  int value = fallback;
  std::from_chars(text, text + std::strlen(text), value);
  return value < 0 ? fallback : value;
}

Probe probe() {
  const DeviceProbe found = probe_device(setting(kDeviceSetting, 0));
  Probe out;
  out.name = "cuda";
  out.usable = found.usable;
  out.score = 1000;
  out.reason = found.reason;
  out.devices = std::getenv(kDeviceSetting) != nullptr ? 1 : std::max(1U, found.count);  // one that was named is the only one
  return out;
}

Result<std::unique_ptr<Backend>> open(const BackendOptions& options) {
  try {
    auto device = KVASIR_TRY(open_cuda_device(setting(kDeviceSetting, static_cast<int>(options.device))));
    CudaOptions settings;
    settings.stream.activations = options.activations;
    if (setting("KVASIR_CUDA_GRAPHS", 1) == 0) settings.stream.graphs = GraphRunner::Mode::kEager;
    if (setting("KVASIR_CUDA_PDL", 1) == 0) settings.stream.overlap = StepProgram::Overlap::kNone;
    if (setting("KVASIR_CUDA_HALF", 1) == 0) settings.stream.prompts = Prompts::kExact;
    settings.copy_bytes = uint64_t{static_cast<unsigned>(setting("KVASIR_CUDA_COPIES", INT_MAX))} << 20U;
    BackendInfo info{"cuda", device->facts().name, probe().reason, 1, kCudaNumerics};
    return std::unique_ptr<Backend>(std::make_unique<CudaBackend>(std::move(device), settings, std::move(info)));
  } catch (const std::bad_alloc&) {
    return Failure{Code::kTooLarge, "not enough memory to open the GPU"};
  }
}

}  // namespace
}  // namespace kvasir::cuda

extern "C" __attribute__((visibility("default"))) const kvasir::BackendPlugin* kvasir_backend_plugin() {
  static const kvasir::BackendPlugin plugin{.abi = KVASIR_BACKEND_ABI, .probe = kvasir::cuda::probe, .open = kvasir::cuda::open};
  return &plugin;
}
