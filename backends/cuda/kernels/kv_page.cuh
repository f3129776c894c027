// One head's part of a page of KV rows: where it lies, and single values in and out of it, plain or aged.
#pragma once

#include "backends/cuda/kernels/args.h"
#include "backends/cuda/kernels/simt.h"

namespace kvasir::cuda {

constexpr uint32_t kPageRows = 64;
// As in backend.h, which kernels do not include.
constexpr uint32_t kAgedBit = 1U << 31U;
constexpr uint32_t kAgedPartBitCount = 3;
constexpr uint32_t kAgedRows = 32;  ///< keys of one channel with one scale

/// One head's part of what an entry of a page table names.
struct HeadPage {
  uint8_t* at;
  KvKind kind;
};
KVASIR_DEVICE HeadPage page_of_entry(const KvLayerView& kv, uint32_t entry, uint32_t head) {
  uint8_t* const base = kv.base + head * kv.head.head_bytes;
  if ((entry & kAgedBit) == 0) return {base + static_cast<uint64_t>(entry) * kv.page_bytes, kv.head.kind};
  const uint64_t page = (entry & ~kAgedBit) >> kAgedPartBitCount, part = entry & ((1U << kAgedPartBitCount) - 1);
  return {base + page * kv.page_bytes + part * kv.head.aged_bytes, KvKind::kAged};
}
KVASIR_DEVICE HeadPage page_of_slot(const KvLayerView& kv, uint32_t sequence, uint32_t slot, uint32_t head) {
  return page_of_entry(kv, kv.pages[static_cast<uint64_t>(sequence) * kv.table_stride + slot / kPageRows], head);
}

KVASIR_DEVICE uint32_t value_bytes(KvKind kind) { return kind == KvKind::kF32 ? 4 : kind == KvKind::kF16 ? 2 : 1; }
KVASIR_DEVICE float clamp_half(float v) { return fmaxf(-65504.0F, fminf(65504.0F, v)); }

/// The warp's 32 values of one block, a lane each, to element `at` of plain storage; those that are not `there` are zero.
KVASIR_DEVICE void store_value(KvKind kind, uint8_t* to, uint64_t at, uint16_t* scale, float v, bool there) {
  if (kind == KvKind::kQ8_0) {
    const float d = warp_max(fabsf(v)) / 127.0F;
    const float inverse = d > 0.0F ? 1.0F / d : 0.0F;
    if (there) to[at] = static_cast<uint8_t>(round_to_int(v * inverse));
    if (lane_id() == 0) *scale = half_bits(fminf(d, 65504.0F));
  } else if (there && kind == KvKind::kF16) {
    reinterpret_cast<uint16_t*>(to)[at] = half_bits(clamp_half(v));
  } else if (there) {
    reinterpret_cast<float*>(to)[at] = v;
  }
}

/// Where value d of row `in` lies, in values, and its scale, in scales.
KVASIR_DEVICE uint64_t key_place(uint32_t d, uint32_t in) { return static_cast<uint64_t>(d) * kPageRows + in; }
KVASIR_DEVICE uint64_t value_place(const KvHeadView& l, uint32_t d, uint32_t in) { return static_cast<uint64_t>(in) * l.v_stride + d; }
KVASIR_DEVICE uint16_t* key_scale(const KvHeadView& l, uint8_t* page, uint32_t block, uint32_t in) {
  return reinterpret_cast<uint16_t*>(page + l.k_scales) + block * kPageRows + in;
}
KVASIR_DEVICE uint16_t* value_scale(const KvHeadView& l, uint8_t* page, uint32_t block, uint32_t in) {
  return reinterpret_cast<uint16_t*>(page + l.v_scales) + in * ((l.v_stride + 31) / 32) + block;
}

/// The f16 scale and least of a group, and what of the page's value q stands for; a scale's sign marks a fifth bit.
KVASIR_DEVICE float aged_value(const uint8_t* page, uint32_t q, uint64_t scales, uint64_t leasts, uint32_t group) {
  const float scale = fabsf(half_value(reinterpret_cast<const uint16_t*>(page + scales)[group]));
  return fmaf(scale, static_cast<float>(q), half_value(reinterpret_cast<const uint16_t*>(page + leasts)[group]));
}
KVASIR_DEVICE uint64_t fifths_of(const KvHeadView& l, uint32_t d) {
  const uint32_t other = l.k_dim - 1 - d;
  return l.aged_k_leasts + 4 * static_cast<uint64_t>(l.k_dim) + 8 * static_cast<uint64_t>(d < other ? d : other);
}
KVASIR_DEVICE float aged_key(const KvHeadView& l, const uint8_t* page, uint32_t d, uint32_t in) {
  const uint32_t byte = page[d * kAgedRows + in % kAgedRows], group = 2 * d + in / kAgedRows;
  uint32_t q = in < kAgedRows ? byte & 15U : byte >> 4U;
  const bool fine = (reinterpret_cast<const uint16_t*>(page + l.aged_k_scales)[group] & 0x8000U) != 0;
  if (fine) q |= (page[fifths_of(l, d) + in / 8] >> in % 8 & 1U) << 4U;
  return aged_value(page, q, l.aged_k_scales, l.aged_k_leasts, group);
}

/// Key value d of row `in` of a page.
KVASIR_DEVICE float key_at(const KvHeadView& l, const HeadPage& page, uint32_t d, uint32_t in) {
  const uint32_t at = d * kPageRows + in;
  if (page.kind == KvKind::kF16) return half_value(reinterpret_cast<const uint16_t*>(page.at)[at]);
  if (page.kind == KvKind::kF32) return reinterpret_cast<const float*>(page.at)[at];
  if (page.kind == KvKind::kAged) return aged_key(l, page.at, d, in);
  return static_cast<float>(static_cast<int8_t>(page.at[at])) * half_value(*key_scale(l, page.at, d / 32, in));
}
KVASIR_DEVICE float value_at(const KvHeadView& l, const HeadPage& page, uint32_t d, uint32_t in) {
  const uint32_t at = in * l.v_stride + d;
  const uint8_t* v = page.at + l.v;
  if (page.kind == KvKind::kF16) return half_value(reinterpret_cast<const uint16_t*>(v)[at]);
  if (page.kind == KvKind::kF32) return reinterpret_cast<const float*>(v)[at];
  if (page.kind == KvKind::kAged) {
    const uint32_t group = in * ((l.v_dim + 31) / 32) + d / 32;
    const uint32_t byte = page.at[l.aged_v + group * 16 + d % 16];
    return aged_value(page.at, d % 32 < 16 ? byte & 15U : byte >> 4U, l.aged_v_scales, l.aged_v_leasts, group);
  }
  return static_cast<float>(static_cast<int8_t>(v[at])) * half_value(*value_scale(l, page.at, d / 32, in));
}

}  // namespace kvasir::cuda
