#include "backends/cuda/kernels/gemm.cuh"

#include "backends/cuda/kernels/kernel_entry.h"

namespace kvasir::cuda {
namespace {

template <Stored TYPE>
void list_widths(KernelTable& table) {
  constexpr uint32_t type = static_cast<uint32_t>(TYPE) - static_cast<uint32_t>(Stored::kT16Q4_0);
  table[gemm_kernel_id(type, 8)] = KVASIR_ENTRY(GemmArgs, (gemm_kernel<TYPE, 1>));
  table[gemm_kernel_id(type, 16)] = KVASIR_ENTRY(GemmArgs, (gemm_kernel<TYPE, 2>));
  table[gemm_kernel_id(type, 32)] = KVASIR_ENTRY(GemmArgs, (gemm_kernel<TYPE, 4>));
  table[gemm_kernel_id(type, 64)] = KVASIR_ENTRY(GemmArgs, (gemm_kernel<TYPE, 8>));
}

}  // namespace

void list_gemm_kernels(KernelTable& table) {
  table[KernelId::kGemmSum] = KVASIR_ENTRY(GemmArgs, gemm_sum_kernel);
  list_widths<Stored::kT16Q4_0>(table);
  list_widths<Stored::kT16Q4_1>(table);
  list_widths<Stored::kT16Q8_0>(table);
  list_widths<Stored::kT16Q4_K>(table);
  list_widths<Stored::kT16Q5_K>(table);
  list_widths<Stored::kT16Q6_K>(table);
}

}  // namespace kvasir::cuda
