// How a block of prompt attention is laid out: shared by the kernel and by the host, which must ask for the right amount of
// shared memory and count the blocks.
#pragma once

#include <cstdint>

#include "backends/cuda/kernels/stored_type.h"

namespace kvasir::cuda {

constexpr uint32_t kPromptWarps = 4;
/// Pairs of a row and a query head that a block takes: 16 for each warp.
constexpr uint32_t kPromptItems = 16 * kPromptWarps;

/// Head sizes that the kernel is made for.
constexpr uint32_t kPromptHeadSizes[] = {64, 80, 96, 128, 256};
constexpr float kLog2E = 1.44269504F;  ///< its softmax is in powers of two
/// Keys lie as in a page, values in rows of whole 128 bytes; large queries do not fit into registers.
KVASIR_BOTH constexpr uint32_t prompt_key_bytes(uint32_t dim) { return dim * 128; }
KVASIR_BOTH constexpr uint32_t prompt_value_row(uint32_t dim) { return (2 * dim + 127) / 128 * 128; }
KVASIR_BOTH constexpr bool prompt_queries_in_registers(uint32_t dim) { return dim <= 128; }
KVASIR_BOTH constexpr uint32_t prompt_shared_bytes(uint32_t dim) {
  return prompt_key_bytes(dim) + 64 * prompt_value_row(dim) + (prompt_queries_in_registers(dim) ? 0 : kPromptItems * dim * 2);
}

}  // namespace kvasir::cuda
