// Rows of KV pages outside attention: decoding, and gather() for compression. Works on whole pages, on the engine
// thread; a few hundred nanoseconds per row and head.
#include <cstring>

#include "backends/cpu/cpu_kv_pool.h"
#include "backends/kv_rows.h"

namespace kvasir::cpu {
namespace {

constexpr uint32_t kMostAgedParts = 1U << kAgedPartBits;

uint32_t groups_of(uint32_t values) { return (values + kAgedGroup - 1) / kAgedGroup; }

uint16_t half_at(const uint8_t* base, uint64_t index) {
  uint16_t bits;
  std::memcpy(&bits, base + index * sizeof bits, sizeof bits);
  return bits;
}

void put_half(uint8_t* base, uint64_t index, uint16_t bits) { std::memcpy(base + index * sizeof bits, &bits, sizeof bits); }

/// Element `index` of plain storage whose scale (8-bit only) is number `scale`.
float plain_value(KvKind kind, const uint8_t* values, uint64_t index, const uint8_t* scales, uint64_t scale) {
  switch (kind) {
    case KvKind::kF32: {
      float value;
      std::memcpy(&value, values + index * sizeof value, sizeof value);
      return value;
    }
    case KvKind::kF16: return half_to_float(half_at(values, index));
    case KvKind::kQ8_0:
      return static_cast<float>(static_cast<int8_t>(values[index])) * half_to_float(half_at(scales, scale));
  }
  return 0.0F;
}

uint64_t value_bytes(KvKind kind) { return kind == KvKind::kF32 ? 4 : kind == KvKind::kF16 ? 2 : 1; }

/// Where the fifth bits of a channel's 64 keys lie, a bit per slot.
uint64_t fifths_of(const KvHeadLayout& l, uint32_t d) {
  return l.aged_k_leasts + uint64_t{l.k_dim} * 2 * sizeof(uint16_t) + sizeof(uint64_t) * std::min(d, l.k_dim - 1 - d);
}

float aged_key(const KvHeadLayout& l, const uint8_t* at, uint32_t d, uint32_t slot) {
  const uint32_t byte = at[uint64_t{d} * kAgedGroup + slot % kAgedGroup];
  const uint64_t group = 2 * uint64_t{d} + slot / kAgedGroup;
  const uint16_t scale = half_at(at + l.aged_k_scales, group);
  uint32_t q = slot < kAgedGroup ? byte & 15U : byte >> 4;
  if ((scale & kAgedFine) != 0) q |= (at[fifths_of(l, d) + slot / 8] >> slot % 8 & 1U) << 4;
  return aged_value({static_cast<uint16_t>(scale & ~kAgedFine), half_at(at + l.aged_k_leasts, group)}, q);
}

float aged_entry(const KvHeadLayout& l, const uint8_t* at, uint32_t slot, uint32_t d) {
  const uint64_t group = uint64_t{slot} * groups_of(l.v_dim) + d / kAgedGroup;
  const uint32_t byte = at[l.aged_v + group * 16 + d % 16];
  return aged_value({half_at(at + l.aged_v_scales, group), half_at(at + l.aged_v_leasts, group)},
                    d % kAgedGroup < 16 ? byte & 15U : byte >> 4);
}

}  // namespace

/// The rows of one head that a target page gets, as f32.
struct CpuKvPool::PageRows {
  std::vector<float> keys;    // [64][k_dim]
  std::vector<float> values;  // [64][v_dim]
  std::vector<KeyTurn> turns;  // [64], if keys are turned
};

KvAbilities CpuKvPool::abilities() const noexcept {
  uint64_t parts = kMostAgedParts;
  for (const Layer& layer : layers_) parts = std::min(parts, layer.layout.head_bytes / layer.layout.aged_bytes);
  return {.attention_mass = true, .gather = true, .aged_per_page = static_cast<uint32_t>(parts)};
}

void CpuKvPool::read_row(uint32_t kv_layer, uint32_t head, PageId id, uint32_t slot, float* key,
                         float* value) const noexcept {
  const KvHeadLayout& l = layout(kv_layer);
  const uint8_t* at = place(kv_layer, head, id);
  const uint64_t v_blocks = groups_of(l.v_stride);
  for (uint32_t d = 0; d < l.k_dim; ++d) {
    key[d] = is_aged(id) ? aged_key(l, at, d, slot)
                         : plain_value(l.kind, at, uint64_t{d} * kPageRows + slot, at + l.k_scales,
                                       uint64_t{d / 32} * kPageRows + slot);
  }
  for (uint32_t d = 0; d < l.v_dim; ++d) {
    value[d] = is_aged(id) ? aged_entry(l, at, slot, d)
                           : plain_value(l.kind, at + l.v, uint64_t{slot} * l.v_stride + d, at + l.v_scales,
                                         slot * v_blocks + d / 32);
  }
}

void CpuKvPool::read_keys(uint32_t kv_layer, uint32_t head, PageId id, float* keys) const noexcept {
  const KvHeadLayout& l = layout(kv_layer);
  const uint8_t* at = place(kv_layer, head, id);
  for (uint32_t d = 0; d < l.k_dim; ++d) {
    for (uint32_t slot = 0; slot < kPageRows; ++slot) {
      const uint64_t index = uint64_t{d} * kPageRows + slot;
      keys[index] = is_aged(id) ? aged_key(l, at, d, slot)
                                : plain_value(l.kind, at, index, at + l.k_scales, uint64_t{d / 32} * kPageRows + slot);
    }
  }
}

/// Bit for bit, between plain pages.
void CpuKvPool::copy_row(uint32_t kv_layer, uint32_t head, PageId from, uint32_t from_slot, PageId to,
                         uint32_t to_slot) const noexcept {
  const KvHeadLayout& l = layout(kv_layer);
  const uint8_t* source = place(kv_layer, head, from);
  uint8_t* target = place(kv_layer, head, to);
  const uint64_t size = value_bytes(l.kind);
  const auto copy = [&](uint64_t base, uint64_t bytes, uint64_t from_index, uint64_t to_index) {
    std::memcpy(target + base + to_index * bytes, source + base + from_index * bytes, bytes);
  };
  for (uint64_t d = 0; d < l.k_dim; ++d) copy(0, size, d * kPageRows + from_slot, d * kPageRows + to_slot);
  copy(l.v, size * l.v_stride, from_slot, to_slot);
  if (l.kind != KvKind::kQ8_0) return;
  for (uint64_t b = 0; b < groups_of(l.k_dim); ++b) {
    copy(l.k_scales, sizeof(uint16_t), b * kPageRows + from_slot, b * kPageRows + to_slot);
  }
  copy(l.v_scales, sizeof(uint16_t) * groups_of(l.v_stride), from_slot, to_slot);
}

void CpuKvPool::write_aged(uint32_t kv_layer, uint32_t head, PageId id, const PageRows& rows) const noexcept {
  const KvHeadLayout& l = layout(kv_layer);
  uint8_t* at = place(kv_layer, head, id);
  float group[kAgedGroup];
  uint8_t q[2 * kAgedGroup] = {};
  const std::vector<bool> fine = fine_channels(rows.keys.data(), l.k_dim, l.k_dim, l.v_dim);
  for (uint32_t d = 0; d < l.k_dim; ++d) {
    for (uint32_t half = 0; half < 2; ++half) {
      for (uint32_t i = 0; i < kAgedGroup; ++i) group[i] = rows.keys[uint64_t{half * kAgedGroup + i} * l.k_dim + d];
      const AgedGroup scale = age(group, q + half * kAgedGroup, fine[d] ? kFineSteps : kAgedSteps);
      put_half(at + l.aged_k_scales, 2 * uint64_t{d} + half, static_cast<uint16_t>(scale.scale | (fine[d] ? kAgedFine : 0)));
      put_half(at + l.aged_k_leasts, 2 * uint64_t{d} + half, scale.least);
    }
    for (uint32_t i = 0; i < kAgedGroup; ++i) {
      at[uint64_t{d} * kAgedGroup + i] = static_cast<uint8_t>((q[i] & 15U) | (q[kAgedGroup + i] & 15U) << 4);
    }
    for (uint32_t byte = 0; fine[d] && byte < sizeof(uint64_t); ++byte) {
      uint32_t fifths = 0;
      for (uint32_t bit = 0; bit < 8; ++bit) fifths |= static_cast<uint32_t>(q[8 * byte + bit] >> 4) << bit;
      at[fifths_of(l, d) + byte] = static_cast<uint8_t>(fifths);
    }
  }
  const uint32_t groups = groups_of(l.v_dim);
  for (uint64_t slot = 0; slot < kPageRows; ++slot) {
    for (uint32_t g = 0; g < groups; ++g) {
      const uint32_t first = g * kAgedGroup;
      const uint32_t count = std::min(kAgedGroup, l.v_dim - first);
      std::fill_n(q, kAgedGroup, uint8_t{0});
      const AgedGroup scale = age({rows.values.data() + slot * l.v_dim + first, count}, q);
      put_half(at + l.aged_v_scales, slot * groups + g, scale.scale);
      put_half(at + l.aged_v_leasts, slot * groups + g, scale.least);
      for (uint32_t i = 0; i < 16; ++i) at[l.aged_v + (slot * groups + g) * 16 + i] = static_cast<uint8_t>(q[i] | q[16 + i] << 4);
    }
  }
}

void CpuKvPool::gather_page(const KvGather& what, uint32_t page, uint32_t head, PageRows& rows) const {
  const KvHeadLayout& l = layout(what.kv_layer);
  const PageId to = what.to[page];
  const bool ropes = what.rope != nullptr && what.rope->kind != RopeKind::kNone;
  for (uint32_t i = 0; i < kPageRows; ++i) {
    const uint32_t index = page * kPageRows + i;
    const uint32_t source = what.rows[index];
    const PageId from = what.from[source / kPageRows];
    const bool turned = ropes && what.turns[index] != 0;
    if (!is_aged(to) && !is_aged(from) && !turned) {
      copy_row(what.kv_layer, head, from, source % kPageRows, to, i);
      continue;
    }
    float* key = rows.keys.data() + uint64_t{i} * l.k_dim;
    float* value = rows.values.data() + uint64_t{i} * l.v_dim;
    read_row(what.kv_layer, head, from, source % kPageRows, key, value);
    if (turned) rows.turns[i].apply(*what.rope, key);
    if (is_aged(to)) continue;
    kernels_.store_kv({.layout = l, .head = place(what.kv_layer, head, to), .slot = i, .k = key,
                       .v = l.v_dim > 0 ? value : nullptr});
  }
  if (is_aged(to)) write_aged(what.kv_layer, head, to, rows);
}

Result<void> CpuKvPool::gather(const KvGather& what) {
  if (!gather_fits(what, spec_, abilities().aged_per_page)) {
    return Failure{Code::kInvalidArgument, "gather: no such KV layer, page or slot"};
  }
  const KvHeadLayout& l = layout(what.kv_layer);
  const bool ropes = what.rope != nullptr && what.rope->kind != RopeKind::kNone;
  PageRows rows{.keys = std::vector<float>(uint64_t{kPageRows} * l.k_dim),
                .values = std::vector<float>(uint64_t{kPageRows} * l.v_dim),
                .turns = std::vector<KeyTurn>(ropes ? kPageRows : 0)};
  for (uint32_t page = 0; page < what.to.size(); ++page) {
    for (uint32_t i = 0; i < rows.turns.size(); ++i) rows.turns[i].set(*what.rope, what.turns[page * kPageRows + i]);
    for (uint32_t head = 0; head < spec_.layers[what.kv_layer].n_kv_heads; ++head) gather_page(what, page, head, rows);
  }
  return {};
}

}  // namespace kvasir::cpu
