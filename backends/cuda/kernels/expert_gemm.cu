#include "backends/cuda/kernels/expert_gemm.cuh"

#include "backends/cuda/kernels/kernel_entry.h"

namespace kvasir::cuda {
namespace {

template <Stored TYPE>
void list_expert_widths(KernelTable& table) {
  constexpr uint32_t type = static_cast<uint32_t>(TYPE) - static_cast<uint32_t>(Stored::kT16Q4_0);
  table[expert_gemm_kernel_id(type, false)] = KVASIR_ENTRY(ExpertGemmArgs, (expert_gemm_kernel<TYPE, kExpertNarrow / 8>));
  table[expert_gemm_kernel_id(type, true)] = KVASIR_ENTRY(ExpertGemmArgs, (expert_gemm_kernel<TYPE, kExpertWide / 8>));
}

}  // namespace

void list_expert_gemm_kernels(KernelTable& table) {
  list_expert_widths<Stored::kT16Q4_0>(table);
  list_expert_widths<Stored::kT16Q4_1>(table);
  list_expert_widths<Stored::kT16Q8_0>(table);
  list_expert_widths<Stored::kT16Q4_K>(table);
  list_expert_widths<Stored::kT16Q5_K>(table);
  list_expert_widths<Stored::kT16Q6_K>(table);
}

}  // namespace kvasir::cuda
