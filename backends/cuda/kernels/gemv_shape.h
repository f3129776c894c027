// How a gemv block is laid out: shared by the kernel and by the host, which must ask for the right amount of shared memory.
#pragma once

#include "backends/cuda/kernels/stored_type.h"

namespace kvasir::cuda {

constexpr uint32_t kGemvWarps = 8;
constexpr uint32_t kGemvMaxColumns = 4;

/// Records in flight per warp: 60 to 74 KiB per multiprocessor, so that two blocks fit beside each other on sm_90.
KVASIR_BOTH constexpr uint32_t gemv_depth(Stored type) {
  switch (type) {
    case Stored::kT16Q4_0:
    case Stored::kT16Q4_K: return 4;
    case Stored::kT16Q4_1:
    case Stored::kT16Q5_K: return 3;
    default: return 2;
  }
}
/// Warps that split a tile's records: a power of two, so that a block's warps divide evenly.
KVASIR_BOTH constexpr uint32_t gemv_warps_per_tile(uint32_t records) {
  return records >= 8 ? 8 : records >= 4 ? 4 : records >= 2 ? 2 : 1;
}
constexpr uint32_t gemv_shared_bytes(Stored type, uint32_t cols, uint32_t columns) {
  return kGemvWarps * gemv_depth(type) * record_bytes(type, 8) + cols / 32 * columns * 48;
}

constexpr uint32_t kGemmDepth = 2;
constexpr uint32_t kGemmMaxColumns = 64;
/// Columns that a gemm kernel is made for: 8, 16, 32 or 64.
constexpr uint32_t gemm_width(uint32_t columns) { return columns <= 8 ? 8 : columns <= 16 ? 16 : columns <= 32 ? 32 : 64; }
constexpr uint32_t gemm_shared_bytes(Stored type, uint32_t cols, uint32_t columns) {
  const uint32_t records = (cols + 255) / 256, parts = gemv_warps_per_tile(records);
  return kGemvWarps * kGemmDepth * record_bytes(type, 8) + (records + parts - 1) / parts * 8 * gemm_width(columns) * 48;
}

/// Items of one expert that an expert_gemm block takes; one record's activations at a time.
constexpr uint32_t kExpertWide = 64, kExpertNarrow = 8;
constexpr uint32_t expert_gemm_shared_bytes(Stored type, uint32_t columns) { return kGemvWarps * kGemmDepth * record_bytes(type, 8) + 8 * columns * 48; }

}  // namespace kvasir::cuda
