#include "backends/cpu/format.h"

#include <algorithm>
#include <array>

namespace kvasir::cpu {
namespace {

// In the order of Format. Packed sizes are those of kernels/formats.inl.h; a test packs and decodes every format.
constexpr std::array<FormatInfo, kFormatCount> kFormats = {{
    {TensorType::kF32, 1, 4, 64, Aux::kNone},
    {TensorType::kF16, 1, 2, 32, Aux::kNone},
    {TensorType::kBF16, 1, 2, 32, Aux::kNone},
    {TensorType::kQ4_0, 32, 18, 288, Aux::kZero8},
    {TensorType::kQ4_1, 32, 20, 320, Aux::kMin},
    {TensorType::kQ5_0, 32, 22, 352, Aux::kZero16},
    {TensorType::kQ5_1, 32, 24, 384, Aux::kMin},
    {TensorType::kQ8_0, 32, 34, 544, Aux::kZero128},
    {TensorType::kQ2_K, 256, 84, 1344, Aux::kSuperMinx16},
    {TensorType::kQ3_K, 256, 110, 1824, Aux::kSuperZero4x16},
    {TensorType::kQ4_K, 256, 144, 2368, Aux::kSuperMin},
    {TensorType::kQ5_K, 256, 176, 2880, Aux::kSuperMin},
    {TensorType::kQ6_K, 256, 210, 3360, Aux::kSuperZero32x16},
    {TensorType::kIQ4_NL, 32, 18, 288, Aux::kZero128},
    {TensorType::kIQ4_XS, 256, 136, 2208, Aux::kSuperZero128},
    {TensorType::kMXFP4, 32, 17, 272, Aux::kZero12},
    {TensorType::kIQ1_S, 256, 50, 800, Aux::kZero16},
    {TensorType::kIQ1_M, 256, 56, 928, Aux::kZero16x16},
    {TensorType::kIQ2_XXS, 256, 66, 1056, Aux::kZero64},
    {TensorType::kIQ2_XS, 256, 74, 1184, Aux::kZero64x16},
    {TensorType::kIQ2_S, 256, 82, 1312, Aux::kZero64x16},
    {TensorType::kIQ3_XXS, 256, 98, 1568, Aux::kZero64},
    {TensorType::kIQ3_S, 256, 110, 1760, Aux::kZero16},
    {TensorType::kTQ1_0, 256, 54, 864, Aux::kZero1},
    {TensorType::kTQ2_0, 256, 66, 1056, Aux::kZero1},
    {TensorType::kNVFP4, 64, 36, 576, Aux::kZero12x16},
    {TensorType::kQ1_0, 128, 18, 288, Aux::kZero1},
    {TensorType::kQ2_0, 64, 18, 288, Aux::kZero1},
}};

uint64_t round_up(uint64_t value, uint64_t unit) noexcept { return (value + unit - 1) / unit * unit; }

}  // namespace

const FormatInfo& format_info(Format format) noexcept { return kFormats[static_cast<size_t>(format)]; }

std::optional<Format> format_of(TensorType type) noexcept {
  for (size_t i = 0; i < kFormats.size(); ++i) {
    if (kFormats[i].type == type) return static_cast<Format>(i);
  }
  return std::nullopt;
}

uint64_t panel_bytes(Format format, uint64_t k) noexcept {
  const FormatInfo& info = format_info(format);
  if (!is_integer(format)) return round_up(k, 2) * info.packed_block_bytes;
  return k / info.block_values * info.packed_block_bytes;
}

uint64_t linear_scratch_bytes(Format format, uint64_t k, bool exact) noexcept {
  if (!is_integer(format)) return 0;
  return exact ? k * kPanelRows * sizeof(float) : k / 32 * (512 + 4 * 64);
}

KvHeadLayout kv_head_layout(KvType type, uint32_t k_dim, uint32_t v_dim) noexcept {
  KvHeadLayout layout;
  layout.kind = type == KvType::kF16 ? KvKind::kF16 : type == KvType::kF32 ? KvKind::kF32 : KvKind::kQ8_0;
  layout.k_dim = k_dim;
  layout.v_dim = v_dim;
  layout.v_stride = static_cast<uint32_t>(round_up(v_dim, 16));
  const uint64_t value_bytes = layout.kind == KvKind::kF32 ? 4 : layout.kind == KvKind::kF16 ? 2 : 1;
  const uint64_t scale_bytes = layout.kind == KvKind::kQ8_0 ? 2 : 0;
  layout.k_scales = value_bytes * k_dim * kPageRows;
  layout.v = round_up(layout.k_scales + scale_bytes * round_up(k_dim, 32) / 32 * kPageRows, 64);
  layout.v_scales = layout.v + value_bytes * layout.v_stride * kPageRows;
  layout.head_bytes = round_up(layout.v_scales + scale_bytes * round_up(layout.v_stride, 32) / 32 * kPageRows, 64);
  constexpr uint64_t kHalf = 2;
  const uint64_t v_groups = round_up(v_dim, 32) / 32;
  layout.aged_k_scales = uint64_t{k_dim} * kPageRows / 2;
  layout.aged_k_leasts = layout.aged_k_scales + uint64_t{k_dim} * 2 * kHalf;
  const uint64_t fifths = v_dim > 0 ? uint64_t{k_dim + 1} / 2 * sizeof(uint64_t) : 0;  // behind the leasts
  layout.aged_v = round_up(layout.aged_k_leasts + uint64_t{k_dim} * 2 * kHalf + fifths, 16);
  layout.aged_v_scales = layout.aged_v + v_groups * 16 * kPageRows;
  layout.aged_v_leasts = layout.aged_v_scales + v_groups * kHalf * kPageRows;
  layout.aged_bytes = round_up(layout.aged_v_leasts + v_groups * kHalf * kPageRows, 64);
  return layout;
}

uint64_t attention_scratch_bytes(uint32_t queries, uint32_t k_dim, uint32_t v_dim) noexcept {
  const uint64_t v_stride = round_up(v_dim, 16);
  const uint64_t quantised = k_dim / 4 + 1 + k_dim / 16;  // attention_q8.inl.h
  const uint64_t per_query = k_dim + kPageRows + 2 * v_stride + 4 + quantised;
  return sizeof(float) * (queries * per_query + kPageRows * (k_dim + v_stride) + 12 * 16);
}

}  // namespace kvasir::cpu
