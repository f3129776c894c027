// The KV cache and attention, plain form: a block takes one query row, a few of its heads that share a KV head, and one
// range of pages; ranges depend on the row's own position only and are merged in order, so that a row's result never
// depends on the rest of the step. K lies transposed in a page, so a thread owns a token and needs no reduction.
#pragma once

#include "backends/cuda/kernels/args.h"
#include "backends/cuda/kernels/kv_page.cuh"
#include "backends/cuda/kernels/rope.cuh"
#include "backends/cuda/kernels/simt.h"

namespace kvasir::cuda {

constexpr uint32_t kAttentionThreads = 128;
constexpr uint32_t kAttentionMaxHeads = 8;  ///< per block

/// Head h of row t to the cache; a warp per block of 32 values.
KVASIR_DEVICE void store_head(const StoreKvArgs& a, uint32_t h, uint32_t t) {
  const uint32_t slot = a.step.slots[t], in = slot % kPageRows, warps = threads_x() / kWarp;
  const KvHeadView& l = a.kv.head;
  uint8_t* page = page_of_slot(a.kv, a.step.sequence_of_row[t], slot, h).at;  // never an aged one
  for (uint32_t b = warp_id(); b * kWarp < l.k_dim; b += warps) {
    const uint32_t d = b * kWarp + lane_id();
    store_value(l.kind, page, key_place(d, in), key_scale(l, page, b, in), d < l.k_dim ? a.k[t * a.k_stride + h * l.k_dim + d] : 0.0F, d < l.k_dim);
  }
  if (a.v == nullptr) return;
  for (uint32_t b = warp_id(); b * kWarp < l.v_dim; b += warps) {
    const uint32_t d = b * kWarp + lane_id();
    store_value(l.kind, page + l.v, value_place(l, d, in), value_scale(l, page, b, in), d < l.v_dim ? a.v[t * a.v_stride + h * l.v_dim + d] : 0.0F, d < l.v_dim);
  }
}

/// Grid: (KV heads, rows).
KVASIR_KERNEL(kAttentionThreads, 4) store_kv_kernel(KVASIR_ARGS(StoreKvArgs) a) {
  begin_dependent();
  store_head(a, block_x(), block_y());
}

/// Grid: (query heads + KV heads, rows).
KVASIR_KERNEL(kAttentionThreads, 4) rope_store_kernel(KVASIR_ARGS(RopeStoreArgs) a) {
  begin_dependent();
  const uint32_t t = block_y();
  if (block_x() < a.q_heads) return turn_head(a.q, block_x(), t);
  const uint32_t h = block_x() - a.q_heads;
  turn_head(a.k, h, t);
  sync_block();  // other threads' pairs are read now
  store_head(a.store, h, t);
}

struct SlotRange {
  uint32_t first, last;  ///< last is included
};
/// The pages of split `split` for a query at `own`, cut to its window: a function of the query's own position.
KVASIR_DEVICE bool split_range(const AttentionArgs& a, uint32_t own, uint32_t split, SlotRange& range) {
  const uint32_t first = a.window > 0 && own + 1 > a.window ? own + 1 - a.window : 0;
  const uint32_t first_page = first / kPageRows, pages = own / kPageRows - first_page + 1;
  const uint32_t each = (pages + a.splits - 1) / a.splits;
  const uint32_t begin = first_page + split * each, end = begin + each;
  range.first = begin * kPageRows > first ? begin * kPageRows : first;
  range.last = end * kPageRows - 1 < own ? end * kPageRows - 1 : own;
  return range.first <= range.last;
}

/// Bytes of shared memory: queries, scores, sums of values, and three numbers per head.
KVASIR_BOTH constexpr uint32_t attention_shared_bytes(uint32_t heads, uint32_t k_dim, uint32_t v_dim) {
  return 4 * heads * (k_dim + kPageRows + v_dim + 3);
}

struct AttentionShared {
  float *q, *scores, *sums, *largest, *total, *factor;
};
KVASIR_DEVICE AttentionShared attention_shared(const AttentionArgs& a) {
  AttentionShared s;
  s.q = reinterpret_cast<float*>(dynamic_shared());
  s.scores = s.q + a.tile_heads * a.kv.head.k_dim;
  s.sums = s.scores + a.tile_heads * kPageRows;
  s.largest = s.sums + a.tile_heads * a.v_dim;
  s.total = s.largest + a.tile_heads;
  s.factor = s.total + a.tile_heads;
  return s;
}

/// Scores of one page for all heads: thread = (token, parity of head).
KVASIR_DEVICE void score_page(const AttentionArgs& a, const AttentionShared& s, const HeadPage& head, uint32_t heads, uint32_t page, const SlotRange& range) {
  const uint32_t in = thread_x() % kPageRows, slot = page * kPageRows + in, k_dim = a.kv.head.k_dim;
  for (uint32_t h = thread_x() / kPageRows; h < heads; h += kAttentionThreads / kPageRows) {
    float score = as_float(0xFF800000U);
    if (slot >= range.first && slot <= range.last) {
      float sum = 0.0F;
      for (uint32_t d = 0; d < k_dim; ++d) sum = fmaf(s.q[h * k_dim + d], key_at(a.kv.head, head, d, in), sum);
      score = sum * a.scale;
      if (a.soft_cap > 0.0F) score = a.soft_cap * tanhf(score / a.soft_cap);
    }
    s.scores[h * kPageRows + in] = score;
  }
}
/// Scores to weights, with the running largest and total of each head; a warp per head.
KVASIR_DEVICE void weigh_page(const AttentionShared& s, uint32_t heads) {
  for (uint32_t h = warp_id(); h < heads; h += kAttentionThreads / kWarp) {
    float* scores = s.scores + h * kPageRows;
    const float a = scores[lane_id()], b = scores[lane_id() + kWarp], before = s.largest[h];
    const float largest = fmaxf(before, warp_max(fmaxf(a, b)));
    const float p = expf(a - largest), q = expf(b - largest);
    const float sum = warp_sum(p + q), factor = expf(before - largest);
    scores[lane_id()] = p;
    scores[lane_id() + kWarp] = q;
    if (lane_id() != 0) continue;
    s.largest[h] = largest;
    s.factor[h] = factor;
    s.total[h] = fmaf(s.total[h], factor, sum);
  }
}
KVASIR_DEVICE void add_values(const AttentionArgs& a, const AttentionShared& s, const HeadPage& head, uint32_t heads, uint32_t page, const SlotRange& range) {
  const uint32_t base = page * kPageRows;
  const uint32_t first = range.first > base ? range.first - base : 0;
  const uint32_t last = range.last - base < kPageRows - 1 ? range.last - base : kPageRows - 1;
  for (uint32_t i = thread_x(); i < heads * a.v_dim; i += kAttentionThreads) {
    const uint32_t h = i / a.v_dim, d = i % a.v_dim;
    float sum = s.sums[i] * s.factor[h];
    for (uint32_t in = first; in <= last; ++in) {
      const float v = a.values_in_keys != 0 ? key_at(a.kv.head, head, d, in) : value_at(a.kv.head, head, d, in);
      sum = fmaf(s.scores[h * kPageRows + in], v, sum);
    }
    s.sums[i] = sum;
  }
}

/// Grid: (splits, KV heads * tiles of heads, rows of this launch).
KVASIR_KERNEL(kAttentionThreads, 4) attention_kernel(KVASIR_ARGS(AttentionArgs) a) {
  begin_dependent();
  const uint32_t tiles = (a.group + a.tile_heads - 1) / a.tile_heads;
  const uint32_t kv_head = block_y() / tiles, first = block_y() % tiles * a.tile_heads, t = a.first_row + block_z();
  const uint32_t heads = a.group - first < a.tile_heads ? a.group - first : a.tile_heads;
  const uint32_t query = kv_head * a.group + first, k_dim = a.kv.head.k_dim;
  const AttentionShared s = attention_shared(a);
  SlotRange range;
  const bool any = split_range(a, a.step.slots[t], block_x(), range);
  for (uint32_t i = thread_x(); i < heads * k_dim; i += kAttentionThreads) s.q[i] = a.q[t * a.q_stride + query * k_dim + i];
  for (uint32_t i = thread_x(); i < heads * a.v_dim; i += kAttentionThreads) s.sums[i] = 0.0F;
  if (thread_x() < heads) {
    s.largest[thread_x()] = as_float(0xFF7FFFFFU);  // the lowest finite: differences of two of them are zero, not NaN
    s.total[thread_x()] = 0.0F;
  }
  sync_block();
  for (uint32_t page = any ? range.first / kPageRows : 1; page <= (any ? range.last / kPageRows : 0); ++page) {
    const HeadPage head = page_of_slot(a.kv, a.step.sequence_of_row[t], page * kPageRows, kv_head);
    score_page(a, s, head, heads, page, range);
    sync_block();
    weigh_page(s, heads);
    sync_block();
    add_values(a, s, head, heads, page, range);
    sync_block();
  }
  const uint64_t part = 2 + a.v_dim;
  for (uint32_t i = thread_x(); i < heads * part; i += kAttentionThreads) {
    const uint32_t h = static_cast<uint32_t>(i / part), at = static_cast<uint32_t>(i % part);
    float* to = a.partials + ((static_cast<uint64_t>(block_z()) * a.kv.heads * a.group + query + h) * a.splits + block_x()) * part;
    to[at] = at == 0 ? s.largest[h] : at == 1 ? s.total[h] : s.sums[h * a.v_dim + at - 2];
  }
}

/// Grid: (query heads, rows of this launch).
KVASIR_KERNEL(kAttentionThreads, 4) attention_merge_kernel(KVASIR_ARGS(AttentionArgs) a) {
  begin_dependent();
  const uint32_t h = block_x(), t = a.first_row + block_y();
  const uint64_t part = 2 + a.v_dim;
  const float* from = a.partials + (static_cast<uint64_t>(block_y()) * a.kv.heads * a.group + h) * a.splits * part;
  float largest = a.sinks != nullptr ? a.sinks[h] : as_float(0xFF7FFFFFU);
  for (uint32_t s = 0; s < a.splits; ++s) largest = fmaxf(largest, from[s * part]);
  float total = a.sinks != nullptr ? expf(a.sinks[h] - largest) : 0.0F;
  for (uint32_t s = 0; s < a.splits; ++s) total = fmaf(from[s * part + 1], expf(from[s * part] - largest), total);
  for (uint32_t d = thread_x(); d < a.v_dim; d += kAttentionThreads) {
    float sum = 0.0F;
    for (uint32_t s = 0; s < a.splits; ++s) sum = fmaf(from[s * part + 2 + d], expf(from[s * part] - largest), sum);
    a.y[t * a.y_stride + h * a.v_dim + d] = sum / total;
  }
}

}  // namespace kvasir::cuda
