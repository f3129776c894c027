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

/// A scale for a group, as backends/kv_rows.h has it (aged_inside), and a lane's value in its steps.
struct AgedScale {
  uint16_t scale, least;
};
KVASIR_DEVICE AgedScale aged_inside(float least, float step, uint32_t low, uint32_t high, float steps) {
  return {half_bits(step * (1.0F - static_cast<float>(low + high) / (4.0F * steps))), half_bits(least + step * (0.25F * static_cast<float>(low)))};
}
KVASIR_DEVICE float aged_steps(float v, AgedScale group, float steps) {
  const float scale = half_value(group.scale), inverse = scale > 0.0F ? 1.0F / scale : 0.0F;
  return rintf(fmaxf(0.0F, fminf(steps, (v - half_value(group.least)) * inverse)));
}
KVASIR_DEVICE float aged_error(float v, bool there, AgedScale group, float steps) {
  const float error = fmaf(half_value(group.scale), aged_steps(v, group, steps), half_value(group.least)) - v;
  return warp_sum(there ? error * error : 0.0F);
}

/// The warp's values, a lane each, in one group of 16 or 32 steps; those that are not `there` do not belong to it.
KVASIR_DEVICE uint32_t age_value(float v, bool there, float steps, uint8_t* page, uint64_t scales, uint64_t leasts, uint32_t group) {
  constexpr uint32_t kInsets = 4;
  const float low = as_float(0xFF7FFFFFU);  // the lowest finite
  const float most = clamp_half(warp_max(there ? v : low)), least = clamp_half(-warp_max(there ? -v : low));
  const float step = most / steps - least / steps;
  AgedScale best = aged_inside(least, step, 0, 0, steps);
  float smallest = aged_error(v, there, best, steps);
  for (uint32_t i = 1; i < kInsets * kInsets; ++i) {
    const AgedScale other = aged_inside(least, step, i / kInsets, i % kInsets, steps);
    const float error = aged_error(v, there, other, steps);
    if (error >= smallest) continue;
    smallest = error;
    best = other;
  }
  if (lane_id() == 0) {
    reinterpret_cast<uint16_t*>(page + scales)[group] = static_cast<uint16_t>(best.scale | (steps > 15.0F ? 0x8000U : 0U));
    reinterpret_cast<uint16_t*>(page + leasts)[group] = best.least;
  }
  return there ? static_cast<uint32_t>(aged_steps(v, best, steps)) : 0U;
}

/// A channel of keys by one warp: a lane has slots `lane` and `lane` + 32.
KVASIR_DEVICE void age_channel(const KvHeadView& l, uint8_t* to, uint32_t d, float first, float second, bool fine) {
  const float steps = fine ? 31.0F : 15.0F;
  const uint32_t low = age_value(first, true, steps, to, l.aged_k_scales, l.aged_k_leasts, 2 * d);
  const uint32_t high = age_value(second, true, steps, to, l.aged_k_scales, l.aged_k_leasts, 2 * d + 1), lane = lane_id();
  to[d * kAgedRows + lane] = static_cast<uint8_t>((low & 15U) | (high & 15U) << 4U);
  if (!fine) return;
  uint32_t bits = (low >> 4U) << lane % 8 | (high >> 4U) << (8 + lane % 8);
  for (int mask = 4; mask > 0; mask >>= 1) bits |= shuffle_xor(bits, mask);  // of the eight lanes of a byte
  if (lane % 8 != 0) return;
  to[fifths_of(l, d) + lane / 8] = static_cast<uint8_t>(bits);
  to[fifths_of(l, d) + 4 + lane / 8] = static_cast<uint8_t>(bits >> 8U);
}

/// How far apart a warp's values lie.
KVASIR_DEVICE float warp_apart(float v) { return warp_max(v) + warp_max(-v); }

/// A whole aged page of one head: a warp per two channels of K (backends/kv_rows.h says which is finer), then per group of V.
KVASIR_DEVICE void age_page(const GatherArgs& a, uint32_t head, uint32_t first, uint8_t* to) {
  const KvHeadView& l = a.kv.head;
  const uint32_t warps = threads_x() / kWarp, lane = lane_id(), groups = (l.v_dim + 31) / 32;
  const auto page_of_row = [&](uint32_t i) { return page_of_slot(a.kv, 0, a.rows[i], head); };
  for (uint32_t d = warp_id(); d < (l.k_dim + 1) / 2; d += warps) {
    const uint32_t i = first + lane, j = i + kAgedRows, other = l.k_dim - 1 - d;
    const float d_low = gathered_key(a, page_of_row(i), i, d), d_high = gathered_key(a, page_of_row(j), j, d);
    const float other_low = gathered_key(a, page_of_row(i), i, other), other_high = gathered_key(a, page_of_row(j), j, other);
    const bool finer = warp_apart(d_low) + warp_apart(d_high) >= warp_apart(other_low) + warp_apart(other_high);
    age_channel(l, to, d, d_low, d_high, l.v_dim > 0 && finer);
    if (other != d) age_channel(l, to, other, other_low, other_high, l.v_dim > 0 && !finer);
  }
  for (uint32_t g = warp_id(); g < kPageRows * groups; g += warps) {
    const uint32_t i = first + g / groups, d = g % groups * kWarp + lane;
    const float v = d < l.v_dim ? value_at(l, page_of_row(i), d, a.rows[i] % kPageRows) : 0.0F;
    const uint32_t q = age_value(v, d < l.v_dim, 15.0F, to, l.aged_v_scales, l.aged_v_leasts, g);
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
