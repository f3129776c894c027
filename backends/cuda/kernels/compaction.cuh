// What compression of a context needs (backend.h: StepLayout::masses, KvPool::gather). Run seldom, so plain: one order of
// sums, nothing kept in shared memory but a query.
#pragma once

#include "backends/cuda/kernels/args.h"
#include "backends/cuda/kernels/kv_page.cuh"
#include "backends/cuda/kernels/rope.cuh"
#include "backends/cuda/kernels/simt.h"

namespace kvasir::cuda {

constexpr uint32_t kMassThreads = 128;
constexpr uint32_t kGatherThreads = 128;

KVASIR_DEVICE uint32_t first_seen(uint32_t own, uint32_t window) { return window > 0 && own + 1 > window ? own + 1 - window : 0; }

/// A query against row `in` of a page.
KVASIR_DEVICE float mass_score(const MassArgs& a, const HeadPage& page, const float* q, uint32_t in) {
  float sum = 0.0F;
  for (uint32_t d = 0; d < a.kv.head.k_dim; ++d) sum = fmaf(q[d], key_at(a.kv.head, page, d, in), sum);
  const float score = sum * a.scale;
  return a.soft_cap > 0.0F ? a.soft_cap * tanhf(score / a.soft_cap) : score;
}

/// The largest score of each query and what its weights are divided by. Grid: (query heads, rows).
KVASIR_KERNEL(kMassThreads, 4) mass_totals_kernel(KVASIR_ARGS(MassArgs) a) {
  KVASIR_SHARED float scratch[32];
  begin_dependent();
  const uint32_t h = block_x(), t = block_y(), own = a.first_slot + t;
  const float* q = a.q + t * a.q_stride + static_cast<uint64_t>(h) * a.kv.head.k_dim;
  float largest = as_float(0xFF7FFFFFU), total = 0.0F;
  for (uint32_t slot = first_seen(own, a.window) + thread_x(); slot <= own; slot += kMassThreads) {
    const float score = mass_score(a, page_of_slot(a.kv, a.sequence, slot, h / a.group), q, slot % kPageRows);
    const float next = fmaxf(largest, score);
    total = fmaf(total, expf(largest - next), expf(score - next));
    largest = next;
  }
  float most = block_max(largest, scratch);
  if (a.sinks != nullptr) most = fmaxf(most, a.sinks[h]);
  float sum = block_sum(total * expf(largest - most), scratch);
  if (a.sinks != nullptr) sum += expf(a.sinks[h] - most);
  if (thread_x() != 0) return;
  float* to = a.totals + (static_cast<uint64_t>(t) * a.kv.heads * a.group + h) * 2;
  to[0] = most;
  to[1] = 1.0F / sum;
}

/// The weights of one page's slots, summed over rows and heads in their order; a thread owns a slot. Grid: (pages, KV heads).
KVASIR_KERNEL(kPageRows, 8) mass_sum_kernel(KVASIR_ARGS(MassArgs) a) {
  begin_dependent();
  const uint32_t slot = block_x() * kPageRows + thread_x(), kv_head = block_y(), k_dim = a.kv.head.k_dim;
  if (slot >= a.slots) return;
  const uint64_t at = static_cast<uint64_t>(kv_head) * a.slots + slot;
  float sum = a.mass[at];
  if (slot < a.first_slot + a.rows) {
    const HeadPage page = page_of_slot(a.kv, a.sequence, slot, kv_head);
    for (uint32_t query = 0; query < a.rows * a.group; ++query) {
      const uint32_t t = query / a.group, h = kv_head * a.group + query % a.group, own = a.first_slot + t;
      if (slot > own || slot < first_seen(own, a.window)) continue;
      const float score = mass_score(a, page, a.q + t * a.q_stride + static_cast<uint64_t>(h) * k_dim, thread_x());
      const float* total = a.totals + (static_cast<uint64_t>(t) * a.kv.heads * a.group + h) * 2;
      sum = fmaf(expf(score - total[0]), total[1], sum);
    }
  }
  a.mass[at] = sum;
  a.out[at] = sum;
}

/// Key value d of what becomes row `i` of the gathered rows, turned.
KVASIR_DEVICE float gathered_key(const GatherArgs& a, const HeadPage& page, uint32_t i, uint32_t d) {
  const KvHeadView& l = a.kv.head;
  const uint32_t in = a.rows[i] % kPageRows;
  const float key = key_at(l, page, d, in);
  if (a.turns == nullptr || a.turns[i] == 0 || d < a.offset || d >= a.offset + 2 * a.pairs) return key;
  const uint32_t j = d - a.offset;
  const uint32_t pair = a.interleaved != 0 ? j / 2 : j % a.pairs;
  const bool second = a.interleaved != 0 ? j % 2 == 1 : j >= a.pairs;
  const uint32_t apart = a.interleaved != 0 ? 1 : a.pairs;
  const float other = key_at(l, page, second ? d - apart : d + apart, in);
  const double turns = static_cast<double>(a.turns[i]) * static_cast<double>(a.inverse_frequency[pair]) * 0.15915494309189533577;
  float s, c;
  sincos_turns(static_cast<float>(turns - rint(turns)), s, c);
  return second ? fmaf(other, s, key * c) : fmaf(key, c, -(other * s));
}

/// A row as it is, bit for bit, by one warp.
KVASIR_DEVICE void copy_kv_row(const KvHeadView& l, const uint8_t* from, uint32_t from_row, uint8_t* to, uint32_t to_row) {
  const uint32_t lane = lane_id(), k_blocks = (l.k_dim + 31) / 32, v_blocks = (l.v_stride + 31) / 32;
  const auto copy = [&](uint64_t base, uint64_t from_at, uint64_t to_at, KvKind kind) {
    if (kind == KvKind::kF32) reinterpret_cast<uint32_t*>(to + base)[to_at] = reinterpret_cast<const uint32_t*>(from + base)[from_at];
    else if (kind == KvKind::kF16) reinterpret_cast<uint16_t*>(to + base)[to_at] = reinterpret_cast<const uint16_t*>(from + base)[from_at];
    else to[base + to_at] = from[base + from_at];
  };
  for (uint32_t d = lane; d < l.k_dim; d += kWarp) copy(0, key_place(d, from_row), key_place(d, to_row), l.kind);
  for (uint32_t d = lane; d < l.v_stride; d += kWarp) copy(l.v, value_place(l, d, from_row), value_place(l, d, to_row), l.kind);
  if (l.kind != KvKind::kQ8_0) return;
  for (uint32_t b = lane; b < k_blocks; b += kWarp) copy(l.k_scales, b * kPageRows + from_row, b * kPageRows + to_row, KvKind::kF16);
  for (uint32_t b = lane; b < v_blocks; b += kWarp) copy(l.v_scales, from_row * v_blocks + b, to_row * v_blocks + b, KvKind::kF16);
}

/// The warp's values, a lane each, at 4 bits in one group; those that are not `there` do not belong to it.
KVASIR_DEVICE uint32_t age_value(float v, bool there, uint8_t* page, uint64_t scales, uint64_t leasts, uint32_t group) {
  const float low = as_float(0xFF7FFFFFU);  // the lowest finite
  const float most = clamp_half(warp_max(there ? v : low)), least = clamp_half(-warp_max(there ? -v : low));
  const uint16_t scale = half_bits(most / 15.0F - least / 15.0F), from = half_bits(least);
  if (lane_id() == 0) {
    reinterpret_cast<uint16_t*>(page + scales)[group] = scale;
    reinterpret_cast<uint16_t*>(page + leasts)[group] = from;
  }
  const float step = half_value(scale), inverse = step > 0.0F ? 1.0F / step : 0.0F;
  const float q = rintf((v - half_value(from)) * inverse);
  return there ? static_cast<uint32_t>(fmaxf(0.0F, fminf(15.0F, q))) : 0U;
}

/// A whole aged page of one head: a warp per channel of K, then per group of V.
KVASIR_DEVICE void age_page(const GatherArgs& a, uint32_t head, uint32_t first, uint8_t* to) {
  const KvHeadView& l = a.kv.head;
  const uint32_t warps = threads_x() / kWarp, lane = lane_id(), groups = (l.v_dim + 31) / 32;
  const auto page_of_row = [&](uint32_t i) { return page_of_slot(a.kv, 0, a.rows[i], head); };
  for (uint32_t d = warp_id(); d < l.k_dim; d += warps) {
    const uint32_t i = first + lane, j = i + kAgedRows;
    const uint32_t low = age_value(gathered_key(a, page_of_row(i), i, d), true, to, l.aged_k_scales, l.aged_k_leasts, 2 * d);
    const uint32_t high = age_value(gathered_key(a, page_of_row(j), j, d), true, to, l.aged_k_scales, l.aged_k_leasts, 2 * d + 1);
    to[d * kAgedRows + lane] = static_cast<uint8_t>(low | high << 4U);
  }
  for (uint32_t g = warp_id(); g < kPageRows * groups; g += warps) {
    const uint32_t i = first + g / groups, d = g % groups * kWarp + lane;
    const float v = d < l.v_dim ? value_at(l, page_of_row(i), d, a.rows[i] % kPageRows) : 0.0F;
    const uint32_t q = age_value(v, d < l.v_dim, to, l.aged_v_scales, l.aged_v_leasts, g);
    const uint32_t high = shuffle_xor(q, 16);
    if (lane < 16) to[l.aged_v + g * 16 + lane] = static_cast<uint8_t>(q | high << 4U);
  }
}

/// A row that is turned, or comes from an aged page, encoded again by one warp.
KVASIR_DEVICE void encode_row(const GatherArgs& a, const HeadPage& from, uint32_t i, uint8_t* to) {
  const KvHeadView& l = a.kv.head;
  const uint32_t in = i % kPageRows, source = a.rows[i] % kPageRows;
  for (uint32_t b = 0; b * kWarp < l.k_dim; ++b) {
    const uint32_t d = b * kWarp + lane_id();
    store_value(l.kind, to, key_place(d, in), key_scale(l, to, b, in), d < l.k_dim ? gathered_key(a, from, i, d) : 0.0F, d < l.k_dim);
  }
  for (uint32_t b = 0; b * kWarp < l.v_dim; ++b) {
    const uint32_t d = b * kWarp + lane_id();
    store_value(l.kind, to + l.v, value_place(l, d, in), value_scale(l, to, b, in), d < l.v_dim ? value_at(l, from, d, source) : 0.0F, d < l.v_dim);
  }
}

/// Grid: (KV heads, target pages); a warp per row. Rows are counted over all targets.
KVASIR_KERNEL(kGatherThreads, 4) gather_kernel(KVASIR_ARGS(GatherArgs) a) {
  begin_dependent();
  const uint32_t head = block_x(), first = block_y() * kPageRows;
  const HeadPage to = page_of_entry(a.kv, a.to[block_y()], head);
  if (to.kind == KvKind::kAged) return age_page(a, head, first, to.at);
  for (uint32_t i = first + warp_id(); i < first + kPageRows; i += threads_x() / kWarp) {
    const HeadPage from = page_of_slot(a.kv, 0, a.rows[i], head);
    const bool turned = a.turns != nullptr && a.turns[i] != 0;
    if (from.kind != KvKind::kAged && !turned) copy_kv_row(a.kv.head, from.at, a.rows[i] % kPageRows, to.at, i % kPageRows);
    else encode_row(a, from, i, to.at);
  }
}

}  // namespace kvasir::cuda
