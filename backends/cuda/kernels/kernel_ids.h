// Every kernel by number, with what a machine needs to start it. The tables are filled by the translation units that hold
// the kernels: nvcc's stubs in the plugin, plain functions in the emulator.
#pragma once

#include <cstdint>

namespace kvasir::cuda {

enum class KernelId : uint32_t {
  kDecodeRows, kNorm, kElement, kCopyRows, kRope, kBestPieces, kBestMerge,
  kRepack, kDecodeMatrix,
  kLinearExact, kRouter, kExpertLinear, kExpertSum, kExpertOrder, kExpertRows,
  kStoreKv, kRopeStore, kAttention, kAttentionMerge, kMassTotals, kMassSum, kGather,
  kConv, kScan, kDelta,
  kToHalf, kProductOut,
  kQuantise,
  kPromptFirst,  ///< head sizes: prompt_kernel_id()
  kPromptLast = kPromptFirst + 4,
  kGemvFirst,  ///< T16 type x 1 to 4 columns: gemv_kernel_id()
  kGemvLast = kGemvFirst + 23,
  kGemmSum,
  kGemmFirst,  ///< T16 type x 8, 16, 32, 64 columns: gemm_kernel_id()
  kGemmLast = kGemmFirst + 23,
  kExpertGemmFirst,  ///< T16 type x 8, 64 columns: expert_gemm_kernel_id()
  kExpertGemmLast = kExpertGemmFirst + 11,
  kCount,
};
/// `which`: place in kPromptHeadSizes.
constexpr KernelId prompt_kernel_id(uint32_t which) { return static_cast<KernelId>(static_cast<uint32_t>(KernelId::kPromptFirst) + which); }
/// `type` is the place of a T16 type behind the first one; `columns` 1 to 4.
constexpr KernelId gemv_kernel_id(uint32_t type, uint32_t columns) {
  return static_cast<KernelId>(static_cast<uint32_t>(KernelId::kGemvFirst) + type * 4 + columns - 1);
}
/// `width`: 8, 16, 32 or 64 columns.
constexpr KernelId gemm_kernel_id(uint32_t type, uint32_t width) {
  const uint32_t which = width == 8 ? 0 : width == 16 ? 1 : width == 32 ? 2 : 3;
  return static_cast<KernelId>(static_cast<uint32_t>(KernelId::kGemmFirst) + type * 4 + which);
}
/// `wide`: 64 columns, else 8.
constexpr KernelId expert_gemm_kernel_id(uint32_t type, bool wide) {
  return static_cast<KernelId>(static_cast<uint32_t>(KernelId::kExpertGemmFirst) + type * 2 + (wide ? 1 : 0));
}
constexpr uint32_t kKernelCount = static_cast<uint32_t>(KernelId::kCount);

struct KernelEntry {
  const char* name = nullptr;
  const void* function = nullptr;  ///< nvcc: the host stub; emulator: void (*)(const void* args)
  uint32_t args_bytes = 0;
};
struct KernelTable {
  KernelEntry entries[kKernelCount];
  KernelEntry& operator[](KernelId id) { return entries[static_cast<uint32_t>(id)]; }
  const KernelEntry& operator[](KernelId id) const { return entries[static_cast<uint32_t>(id)]; }
};

// One per .cu file.
void list_row_kernels(KernelTable& table);
void list_linear_kernels(KernelTable& table);
void list_attention_kernels(KernelTable& table);
void list_prompt_kernels(KernelTable& table);
void list_best_kernels(KernelTable& table);
void list_compaction_kernels(KernelTable& table);
void list_recurrent_kernels(KernelTable& table);
void list_gemv_kernels(KernelTable& table);
void list_gemm_kernels(KernelTable& table);
void list_expert_gemm_kernels(KernelTable& table);
inline void list_all_kernels(KernelTable& table) {
  list_row_kernels(table);
  list_linear_kernels(table);
  list_attention_kernels(table);
  list_prompt_kernels(table);
  list_best_kernels(table);
  list_compaction_kernels(table);
  list_recurrent_kernels(table);
  list_gemv_kernels(table);
  list_gemm_kernels(table);
  list_expert_gemm_kernels(table);
}

}  // namespace kvasir::cuda
