// Sizes of the packed weight formats and of KV pages: what backend, packer and stream need to know without any kernel.
// Pure functions, thread-safe.
#pragma once

#include <cstdint>
#include <optional>

#include "backends/backend.h"
#include "backends/cpu/kernel_table.h"

namespace kvasir::cpu {

struct FormatInfo {
  TensorType type;
  uint32_t block_values;        ///< K must be a multiple
  uint32_t file_block_bytes;    ///< of one row
  uint32_t packed_block_bytes;  ///< of 16 rows
  Aux aux;                      ///< kNone: float weights
};

const FormatInfo& format_info(Format format) noexcept;
/// The packed format of a file type; nothing for types without a decoder yet.
std::optional<Format> format_of(TensorType type) noexcept;

inline bool is_integer(Format format) noexcept { return format_info(format).aux != Aux::kNone; }
/// Bytes of a panel of 16 rows with `k` columns (float formats pad k to even), a multiple of 32.
uint64_t panel_bytes(Format format, uint64_t k) noexcept;
/// Scratch that `linear` may use for one panel.
uint64_t linear_scratch_bytes(Format format, uint64_t k, bool exact) noexcept;

KvHeadLayout kv_head_layout(KvType type, uint32_t k_dim, uint32_t v_dim) noexcept;
/// Query rows x heads of one attention tile at most.
constexpr uint32_t kMaxTileQueries = 48;
uint64_t attention_scratch_bytes(uint32_t queries, uint32_t k_dim, uint32_t v_dim) noexcept;

}  // namespace kvasir::cpu
