#include "backends/cuda/kernels/rows.cuh"

#include "backends/cuda/kernels/kernel_entry.h"
#include "backends/cuda/kernels/repack.cuh"

namespace kvasir::cuda {

void list_row_kernels(KernelTable& table) {
  table[KernelId::kDecodeRows] = KVASIR_ENTRY(DecodeRowsArgs, decode_rows_kernel);
  table[KernelId::kNorm] = KVASIR_ENTRY(NormArgs, norm_kernel);
  table[KernelId::kElement] = KVASIR_ENTRY(ElementArgs, element_kernel);
  table[KernelId::kCopyRows] = KVASIR_ENTRY(CopyRowsArgs, copy_rows_kernel);
  table[KernelId::kRope] = KVASIR_ENTRY(RopeArgs, rope_kernel);
  table[KernelId::kRepack] = KVASIR_ENTRY(RepackArgs, repack_kernel);
  table[KernelId::kDecodeMatrix] = KVASIR_ENTRY(DecodeMatrixArgs, decode_matrix_kernel);
}

}  // namespace kvasir::cuda
