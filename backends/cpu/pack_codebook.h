// Packs the formats whose codes stay as the file has them, a row's codes side by side (kernels/formats_codebook.inl.h).
// Pure functions, thread-safe.
#pragma once

#include <cstdint>

#include "backends/cpu/kernel_table.h"

namespace kvasir::cpu {

bool is_codebook(Format format) noexcept;
/// Writes one file block of row `row` (0..15) into a packed block.
void pack_codebook_row(Format format, const uint8_t* file, uint32_t row, uint8_t* packed) noexcept;

}  // namespace kvasir::cpu
