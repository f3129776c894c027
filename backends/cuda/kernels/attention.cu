#include "backends/cuda/kernels/attention.cuh"

#include "backends/cuda/kernels/kernel_entry.h"

namespace kvasir::cuda {

void list_attention_kernels(KernelTable& table) {
  table[KernelId::kStoreKv] = KVASIR_ENTRY(StoreKvArgs, store_kv_kernel);
  table[KernelId::kRopeStore] = KVASIR_ENTRY(RopeStoreArgs, rope_store_kernel);
  table[KernelId::kAttention] = KVASIR_ENTRY(AttentionArgs, attention_kernel);
  table[KernelId::kAttentionMerge] = KVASIR_ENTRY(AttentionArgs, attention_merge_kernel);
}

}  // namespace kvasir::cuda
