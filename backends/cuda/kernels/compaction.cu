#include "backends/cuda/kernels/compaction.cuh"

#include "backends/cuda/kernels/kernel_entry.h"

namespace kvasir::cuda {

void list_compaction_kernels(KernelTable& table) {
  table[KernelId::kMassTotals] = KVASIR_ENTRY(MassArgs, mass_totals_kernel);
  table[KernelId::kMassSum] = KVASIR_ENTRY(MassArgs, mass_sum_kernel);
  table[KernelId::kGather] = KVASIR_ENTRY(GatherArgs, gather_kernel);
}

}  // namespace kvasir::cuda
