// File rows to panels: a permutation of the file's bits (scales of some K-quants widen from 6 to 8 bits, at most 3.7 %).
// Pure functions, called from several threads at load.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/cpu/kernel_table.h"

namespace kvasir::cpu {

/// Bump when the bytes of any panel change (a test pins them): files of packed weights carry it.
constexpr uint32_t kPackedLayout = 2;

/// Packs `rows` (1..16) consecutive file rows of `k` values into one panel of panel_bytes(); missing rows become zeros.
void pack_panel(Format format, const std::byte* file_rows, uint32_t rows, uint64_t k, uint8_t* panel) noexcept;

}  // namespace kvasir::cpu
