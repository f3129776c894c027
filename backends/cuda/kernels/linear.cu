#include "backends/cuda/kernels/kernel_entry.h"
#include "backends/cuda/kernels/linear_exact.cuh"
#include "backends/cuda/kernels/moe.cuh"
#include "backends/cuda/kernels/product.cuh"

namespace kvasir::cuda {

void list_linear_kernels(KernelTable& table) {
  table[KernelId::kLinearExact] = KVASIR_ENTRY(LinearArgs, linear_exact_kernel);
  table[KernelId::kToHalf] = KVASIR_ENTRY(ToHalfArgs, to_half_kernel);
  table[KernelId::kProductOut] = KVASIR_ENTRY(ProductOutArgs, product_out_kernel);
  table[KernelId::kRouter] = KVASIR_ENTRY(RouterArgs, router_kernel);
  table[KernelId::kExpertLinear] = KVASIR_ENTRY(ExpertLinearArgs, expert_linear_kernel);
  table[KernelId::kExpertOrder] = KVASIR_ENTRY(ExpertOrderArgs, expert_order_kernel);
  table[KernelId::kExpertRows] = KVASIR_ENTRY(ExpertLinearArgs, expert_rows_kernel);
  table[KernelId::kExpertSum] = KVASIR_ENTRY(ExpertSumArgs, expert_sum_kernel);
}

}  // namespace kvasir::cuda
