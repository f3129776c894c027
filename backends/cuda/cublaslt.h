// Large products by cuBLASLt, opened at run time (no header, no link: decisions.md 33); a dozen of its C functions are
// declared in cublaslt.cpp. One handle, one workspace, an algorithm per shape, chosen once. Engine thread only.
#pragma once

#include <memory>

#include "backends/cuda/device.h"

namespace kvasir::cuda {

class CublasLt {
 public:
  virtual ~CublasLt() = default;
  /// Errors: kUnavailable (no library, with where was looked), kBackend.
  static Result<std::unique_ptr<CublasLt>> open(Device& device);
  /// `stream` is a cudaStream_t.
  virtual Result<void> multiply(const Product& product, void* stream) = 0;
  virtual uint64_t version() const noexcept = 0;
};

}  // namespace kvasir::cuda
