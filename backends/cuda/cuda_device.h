// The real machine: the CUDA runtime (linked statically, it opens the driver itself), one stream, one device. Only the
// plugin and kvasir-gpu-check hold this file. Engine thread only.
#pragma once

#include <memory>

#include "backends/cuda/device.h"

namespace kvasir::cuda {

/// What can be known of a device without a context on it.
struct DeviceProbe {
  bool usable = false;
  std::string reason;  ///< for people, either way
  uint32_t count = 0;  ///< devices that the driver shows
};
DeviceProbe probe_device(int index) noexcept;

/// Errors: kUnavailable (the probe's reason), kBackend. After a device was lost, everything of it must be destroyed first.
Result<std::unique_ptr<Device>> open_cuda_device(int index);

}  // namespace kvasir::cuda
