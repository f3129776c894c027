// How a .cu file enters its kernels into the table, on both sides of kernels/simt.h.
#pragma once

#include "backends/cuda/kernels/kernel_ids.h"
#include "backends/cuda/kernels/simt.h"

namespace kvasir::cuda {

#if defined(__CUDACC__)
template <class Args>
KernelEntry kernel_entry(const char* name, void (*kernel)(const Args)) {
  return {name, reinterpret_cast<const void*>(kernel), sizeof(Args)};
}
#define KVASIR_ENTRY(Args, kernel) ::kvasir::cuda::kernel_entry<Args>(#kernel, kernel)
#else
template <class Args, void (*kernel)(const Args)>
KernelEntry kernel_entry(const char* name) {
  void (*call)(const void*) = [](const void* args) { kernel(*static_cast<const Args*>(args)); };
  return {name, reinterpret_cast<const void*>(call), sizeof(Args)};
}
#define KVASIR_ENTRY(Args, ...) ::kvasir::cuda::kernel_entry<Args, __VA_ARGS__>(#__VA_ARGS__)
#endif

}  // namespace kvasir::cuda
