#include "backends/cuda/kernels/gemv.cuh"

#include "backends/cuda/kernels/kernel_entry.h"
#include "backends/cuda/kernels/quantise.cuh"

namespace kvasir::cuda {
namespace {

template <Stored TYPE>
void list_columns(KernelTable& table) {
  constexpr uint32_t type = static_cast<uint32_t>(TYPE) - static_cast<uint32_t>(Stored::kT16Q4_0);
  table[gemv_kernel_id(type, 1)] = KVASIR_ENTRY(GemvArgs, (gemv_kernel<TYPE, 1>));
  table[gemv_kernel_id(type, 2)] = KVASIR_ENTRY(GemvArgs, (gemv_kernel<TYPE, 2>));
  table[gemv_kernel_id(type, 3)] = KVASIR_ENTRY(GemvArgs, (gemv_kernel<TYPE, 3>));
  table[gemv_kernel_id(type, 4)] = KVASIR_ENTRY(GemvArgs, (gemv_kernel<TYPE, 4>));
}

}  // namespace

void list_gemv_kernels(KernelTable& table) {
  table[KernelId::kQuantise] = KVASIR_ENTRY(QuantiseArgs, quantise_kernel);
  list_columns<Stored::kT16Q4_0>(table);
  list_columns<Stored::kT16Q4_1>(table);
  list_columns<Stored::kT16Q8_0>(table);
  list_columns<Stored::kT16Q4_K>(table);
  list_columns<Stored::kT16Q5_K>(table);
  list_columns<Stored::kT16Q6_K>(table);
}

}  // namespace kvasir::cuda
