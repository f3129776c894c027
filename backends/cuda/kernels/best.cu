#include "backends/cuda/kernels/best.cuh"

#include "backends/cuda/kernels/kernel_entry.h"

namespace kvasir::cuda {

void list_best_kernels(KernelTable& table) {
  table[KernelId::kBestPieces] = KVASIR_ENTRY(BestArgs, best_pieces_kernel);
  table[KernelId::kBestMerge] = KVASIR_ENTRY(BestArgs, best_merge_kernel);
}

}  // namespace kvasir::cuda
