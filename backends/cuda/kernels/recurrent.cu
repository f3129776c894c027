#include "backends/cuda/kernels/recurrent.cuh"

#include "backends/cuda/kernels/kernel_entry.h"

namespace kvasir::cuda {

void list_recurrent_kernels(KernelTable& table) {
  table[KernelId::kConv] = KVASIR_ENTRY(ConvArgs, conv_kernel);
  table[KernelId::kScan] = KVASIR_ENTRY(ScanArgs, scan_kernel);
  table[KernelId::kDelta] = KVASIR_ENTRY(DeltaArgs, delta_kernel);
}

}  // namespace kvasir::cuda
