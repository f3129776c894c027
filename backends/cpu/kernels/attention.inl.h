// Paged attention: one tile of query rows x heads that share a KV head, over a range of splits of 512 slots.
//
// Per query, in prefill and decode alike (decisions.md 9): scores s[j] = fma chain over d (8-bit keys:
// attention_q8.inl.h); per page of 64 slots the online softmax (Milakov & Gimelshein 2018, arXiv:1805.02867) and
// O[d] = fma chain over slots; per split its own (max, sum, O) from scratch; splits merged in order. A page or split that
// is wholly masked for a query leaves its bits alone (exp(0) == 1 exactly, exp(-inf) == 0 exactly), so it does not matter
// which others share the tile.
#pragma once

#include "backends/cpu/kernels/attention_aged.inl.h"
#include "backends/cpu/kernels/attention_q8.inl.h"

namespace kvasir::cpu::KVASIR_ISA {
namespace {

constexpr float kNoScore = -1e30F;  // finite, so that differences stay defined

/// Rows of f16 or f32 for multiply_all().
template <class B>
struct PlainRows {
  const B* at;
  uint64_t stride;
  KV_INLINE PlainRows from(const PlainRows& rows, uint32_t column) { return {rows.at + column, rows.stride}; }
  KV_INLINE LF load(const PlainRows& rows, uint32_t at) {
    if constexpr (sizeof(B) == 2) return lf_load_f16(rows.at + at);
    else return lf_load(rows.at + at);
  }
  KV_INLINE void next(PlainRows& rows) { rows.at += rows.stride; }
};

/// c[Queries][Vectors * kLanes] = (Keep ? c : 0) + sum over i < n of a[query * a_stride + i] * row i of b.
template <class B, int Queries, int Vectors, bool Keep>
KV_INLINE void multiply_tile(float* c, uint64_t c_stride, const float* a, uint64_t a_stride, B b, uint32_t n) {
  LF acc[Queries][Vectors];
  KV_UNROLL
  for (int q = 0; q < Queries; ++q) {
    KV_UNROLL
    for (int v = 0; v < Vectors; ++v) {
      acc[q][v] = Keep ? lf_load(c + static_cast<uint64_t>(q) * c_stride + kLanes * static_cast<uint32_t>(v)) : lf_zero();
    }
  }
  KV_NO_UNROLL
  for (uint32_t i = 0; i < n; ++i, B::next(b)) {
    LF row[Vectors];
    KV_UNROLL
    for (int v = 0; v < Vectors; ++v) row[v] = B::load(b, kLanes * static_cast<uint32_t>(v));
    KV_UNROLL
    for (int q = 0; q < Queries; ++q) {
      const LF factor = lf_set(a[static_cast<uint64_t>(q) * a_stride + i]);
      KV_UNROLL
      for (int v = 0; v < Vectors; ++v) acc[q][v] = lf_fma(factor, row[v], acc[q][v]);
    }
  }
  KV_UNROLL
  for (int q = 0; q < Queries; ++q) {
    KV_UNROLL
    for (int v = 0; v < Vectors; ++v) lf_store(c + static_cast<uint64_t>(q) * c_stride + kLanes * static_cast<uint32_t>(v), acc[q][v]);
  }
}

template <class B, int Queries, bool Keep>
__attribute__((noinline)) void multiply_queries(float* c, uint64_t c_stride, const float* a, uint64_t a_stride, const B& b, uint32_t n,
                                                uint32_t width) {
  uint32_t at = 0;
  for (; at + 4 * kLanes <= width; at += 4 * kLanes) multiply_tile<B, Queries, 4, Keep>(c + at, c_stride, a, a_stride, B::from(b, at), n);
  for (; at < width; at += kLanes) multiply_tile<B, Queries, 1, Keep>(c + at, c_stride, a, a_stride, B::from(b, at), n);
}

template <class B, bool Keep, int Max>
KV_INLINE void multiply_rest(uint32_t queries, float* c, uint64_t c_stride, const float* a, uint64_t a_stride, const B& b, uint32_t n,
                             uint32_t width) {
  if constexpr (Max > 1) {
    if (queries < Max) return multiply_rest<B, Keep, Max - 1>(queries, c, c_stride, a, a_stride, b, n, width);
  }
  multiply_queries<B, Max, Keep>(c, c_stride, a, a_stride, b, n, width);
}

/// The same for any number of queries. `width` is a multiple of 16.
template <bool Keep, class B>
void multiply_all(uint32_t queries, float* c, uint64_t c_stride, const float* a, uint64_t a_stride, const B& b, uint32_t n,
                  uint32_t width) {
  uint32_t q = 0;
  for (; q + kTileQueries <= queries; q += kTileQueries) {
    multiply_queries<B, kTileQueries, Keep>(c + q * c_stride, c_stride, a + q * a_stride, a_stride, b, n, width);
  }
  if (q < queries) {
    multiply_rest<B, Keep, kTileQueries>(queries - q, c + q * c_stride, c_stride, a + q * a_stride, a_stride, b, n, width);
  }
}

/// Everything a tile needs between pages; carved out of the scratch.
struct TileState {
  float* q;       // [queries][k_dim]
  float* scores;  // [queries][64]
  float* out;     // [queries][v_stride] of the current split
  float* merged;  // [queries][v_stride]
  float* max;     // [queries] of the current split, then sum, and both of the merged
  float* sum;
  float* merged_max;
  float* merged_sum;
  float* keys;    // [k_dim][64] f32, or 8-bit panels
  float* values;  // [64][v_stride] f32
  Q8Queries q8;
};

KV_INLINE TileState carve(const AttentionArgs& args, uint32_t queries, uint32_t v_stride) {
  float* p = reinterpret_cast<float*>(args.scratch);
  auto take = [&p](uint64_t n) {
    float* at = p;
    p += (n + 15) / 16 * 16;
    return at;
  };
  TileState s{};
  s.q = take(uint64_t{queries} * args.layout.k_dim);
  s.scores = take(uint64_t{queries} * kPageRows);
  s.out = take(uint64_t{queries} * v_stride);
  s.merged = take(uint64_t{queries} * v_stride);
  s.max = take(queries);
  s.sum = take(queries);
  s.merged_max = take(queries);
  s.merged_sum = take(queries);
  s.keys = take(uint64_t{args.layout.k_dim} * kPageRows);
  s.values = take(uint64_t{kPageRows} * v_stride);
  s.q8.q = reinterpret_cast<int8_t*>(take(uint64_t{queries} * args.layout.k_dim / 4));
  s.q8.aux = take(queries * aux_floats(kQueryAux, args.layout.k_dim));
  s.q8.count = queries;
  return s;
}

/// K of a page as f32 [k_dim][64].
KV_INLINE void widen_keys(const KvHeadLayout& layout, const uint8_t* head, float* keys) {
  for (uint32_t d = 0; d < layout.k_dim; ++d) {
    for (uint32_t j = 0; j < kPageRows; j += 16) {
      const uint32_t at = kPageRows * d + j;
      F v;
      if (layout.kind == KvKind::kF16) {
        v = f_load_f16(reinterpret_cast<const uint16_t*>(head) + at);
      } else {
        const uint16_t* scales = reinterpret_cast<const uint16_t*>(head + layout.k_scales) + kPageRows * (d / 32) + j;
        v = f_mul(f_load_i8(reinterpret_cast<const int8_t*>(head) + at), f_load_f16(scales));
      }
      f_store(keys + at, v);
    }
  }
}

/// V of the first `rows` rows of a page as f32 [rows][v_stride].
KV_INLINE void widen_values(const KvHeadLayout& layout, const uint8_t* head, uint32_t rows, float* values) {
  for (uint32_t j = 0; j < rows; ++j) {
    for (uint32_t d = 0; d < layout.v_stride; d += 16) {
      const uint32_t at = layout.v_stride * j + d;
      F v;
      if (layout.kind == KvKind::kF16) {
        v = f_load_f16(reinterpret_cast<const uint16_t*>(head + layout.v) + at);
      } else {
        const uint16_t* scales = reinterpret_cast<const uint16_t*>(head + layout.v_scales);
        uint16_t same[16];
        for (uint16_t& lane : same) lane = scales[j * ((layout.v_stride + 31) / 32) + d / 32];
        v = f_mul(f_load_i8(reinterpret_cast<const int8_t*>(head + layout.v) + at), f_load_f16(same));
      }
      f_store(values + at, v);
    }
  }
}

/// MLA: values are the first columns of the keys: transposes [v_dim][64] to [64][v_stride].
KV_INLINE void turn_keys(const float* keys, uint32_t v_dim, uint32_t v_stride, float* values) {
  for (uint32_t j = 0; j < kPageRows; ++j) {
    for (uint32_t d = 0; d < v_stride; ++d) values[j * v_stride + d] = d < v_dim ? keys[d * kPageRows + j] : 0.0F;
  }
}

KV_INLINE float exp_of(float x) {
  float lanes[16];
  f_store(lanes, f_exp(f_set(x)));
  return lanes[0];
}

/// Scores of one query and page to weights; updates max and sum and rescales what was summed before.
KV_INLINE void soften(const AttentionArgs& args, float* scores, float* out, uint32_t v_stride, float& max, float& sum,
                      uint32_t page_slot, uint32_t own_slot) {
  const uint32_t low = args.window != 0 && own_slot + 1 > args.window ? own_slot + 1 - args.window : 0;
  const F first = f_set(static_cast<float>(static_cast<int32_t>(low) - static_cast<int32_t>(page_slot)));
  const F end = f_set(static_cast<float>(static_cast<int32_t>(own_slot) + 1 - static_cast<int32_t>(page_slot)));
  const bool whole = page_slot >= low && page_slot + kPageRows - 1 <= own_slot;
  const F factor = f_set(args.scale);
  F s[4];
  KV_UNROLL
  for (uint32_t v = 0; v < 4; ++v) {
    s[v] = f_mul(f_load(scores + 16 * v), factor);
    if (args.soft_cap != 0.0F) s[v] = f_mul(f_set(args.soft_cap), f_tanh(f_div(s[v], f_set(args.soft_cap))));
    if (!whole) {
      const F lane = f_add(f_iota(), f_set(static_cast<float>(16 * v)));
      const M after_low = f_less(f_sub(first, f_set(0.5F)), lane);
      s[v] = f_select(m_and(after_low, f_less(lane, end)), s[v], f_set(-__builtin_inff()));
    }
  }
  const float page_max = f_largest(f_max(f_max(s[0], s[1]), f_max(s[2], s[3])));
  const float new_max = page_max > max ? page_max : max;
  KV_UNROLL
  for (uint32_t v = 0; v < 4; ++v) {
    s[v] = f_exp(f_sub(s[v], f_set(new_max)));
    f_store(scores + 16 * v, s[v]);
  }
  const float page_sum = f_sum(f_add(f_add(s[0], s[1]), f_add(s[2], s[3])));
  if (new_max == max) {  // exp(0) == 1: nothing to rescale
    sum += page_sum;
    return;
  }
  const float keep = exp_of(max - new_max);
  sum = sum * keep + page_sum;
  max = new_max;
  const F k = f_set(keep);
  for (uint32_t d = 0; d < v_stride; d += 16) f_store(out + d, f_mul(f_load(out + d), k));
}

/// (max, sum, out) of the next split joins what is merged so far. Starts from (kNoScore, 0, 0).
KV_INLINE void merge_split(float& merged_max, float& merged_sum, float* merged, float max, float sum, const float* out,
                           uint32_t v_stride) {
  const float new_max = max > merged_max ? max : merged_max;
  const float old_factor = exp_of(merged_max - new_max);
  const float new_factor = exp_of(max - new_max);
  merged_sum = merged_sum * old_factor + sum * new_factor;
  merged_max = new_max;
  const F a = f_set(old_factor);
  const F b = f_set(new_factor);
  for (uint32_t d = 0; d < v_stride; d += 16) {
    f_store(merged + d, f_fma(f_load(out + d), b, f_mul(f_load(merged + d), a)));
  }
}

KV_INLINE void finish_query(const AttentionArgs& args, uint32_t query, float max, float sum, float* merged, uint32_t v_stride) {
  const uint32_t row = query / args.heads;
  const uint32_t head = query % args.heads;
  float factor = 1.0F;
  if (args.sinks != nullptr) {
    const float sink = args.sinks[head];
    const float new_max = sink > max ? sink : max;
    factor = exp_of(max - new_max);
    sum = sum * factor + exp_of(sink - new_max);
  }
  const F f = f_set(factor / sum);
  float* y = args.y + row * args.y_stride + uint64_t{head} * args.v_dim;
  for (uint32_t d = 0; d < v_stride; d += 16) {
    const F v = f_mul(f_load(merged + d), f);
    if (args.v_dim - d >= 16) f_store(y + d, v);
    else f_store_part(y + d, v, args.v_dim - d);
  }
}

KV_INLINE void clear_floats(float* p, uint64_t n, float value) {
  for (uint64_t i = 0; i < n; ++i) p[i] = value;
}

/// Scores, softmax and weighted values of one page for all queries of the tile.
KV_INLINE void attend_page(const AttentionArgs& args, TileState& s, uint32_t queries, uint32_t v_stride, uint32_t page) {
  const uint32_t page_slot = page * kPageRows;
  const bool aged = (args.pages[page] & kAgedBit) != 0;
  const uint8_t* head = args.pool + page_place(args.pages[page], args.page_stride, args.layout.aged_bytes);
  const uint32_t last_slot = args.first_slot + args.rows - 1;
  const uint32_t rows = last_slot - page_slot + 1 < kPageRows ? last_slot - page_slot + 1 : kPageRows;
  const uint32_t k_dim = args.layout.k_dim;
  const bool few = queries <= 2 * kTileQueries;  // then widening pays less than reading f16 again
  const bool narrow_direct = args.layout.kind == KvKind::kF16 && few && !args.values_in_keys && !aged;
  const bool narrow_keys = scores_by_bytes(args) && !aged;
  const bool narrow_values = args.layout.kind == KvKind::kQ8_0 && few && !args.values_in_keys && !aged;
  const float* keys = s.keys;
  const float* values = s.values;
  if (aged) {
    widen_aged_keys(args.layout, head, s.keys);
    if (!args.values_in_keys) widen_aged_values(args.layout, head, rows, s.values);
  } else if (args.layout.kind == KvKind::kF32) {
    keys = reinterpret_cast<const float*>(head);
    values = reinterpret_cast<const float*>(head + args.layout.v);
  } else if (!narrow_direct) {
    if (!narrow_keys) widen_keys(args.layout, head, s.keys);
    if (!args.values_in_keys && !narrow_values) widen_values(args.layout, head, rows, s.values);
  }
  if (args.values_in_keys) {
    turn_keys(keys, args.v_dim, v_stride, s.values);
    values = s.values;
  }
  if (narrow_direct) {
    multiply_all<false>(queries, s.scores, kPageRows, s.q, k_dim, PlainRows<uint16_t>{reinterpret_cast<const uint16_t*>(head), kPageRows}, k_dim, kPageRows);
  } else if (narrow_keys) {
    score_q8_page(args.layout, head, s.q8, reinterpret_cast<uint8_t*>(s.keys), s.scores);
  } else {
    multiply_all<false>(queries, s.scores, kPageRows, s.q, k_dim, PlainRows<float>{keys, kPageRows}, k_dim, kPageRows);
  }
  for (uint32_t i = 0; i < queries; ++i) {
    soften(args, s.scores + kPageRows * i, s.out + v_stride * i, v_stride, s.max[i], s.sum[i], page_slot,
           args.first_slot + i / args.heads);
  }
  if (narrow_values) {
    multiply_all<true>(queries, s.out, v_stride, s.scores, kPageRows, q8_values(args.layout, head, s.values), rows, v_stride);
  } else if (narrow_direct) {
    multiply_all<true>(queries, s.out, v_stride, s.scores, kPageRows, PlainRows<uint16_t>{reinterpret_cast<const uint16_t*>(head + args.layout.v), v_stride}, rows, v_stride);
  } else {
    multiply_all<true>(queries, s.out, v_stride, s.scores, kPageRows, PlainRows<float>{values, v_stride}, rows, v_stride);
  }
}

void attention(const AttentionArgs& args) {
  const uint32_t queries = args.rows * args.heads;
  const uint32_t v_stride = (args.v_dim + 15) / 16 * 16;
  TileState s = carve(args, queries, v_stride);
  for (uint32_t i = 0; i < queries; ++i) {
    const float* from = args.q + (i / args.heads) * args.q_stride + uint64_t{i % args.heads} * args.layout.k_dim;
    __builtin_memcpy(s.q + uint64_t{i} * args.layout.k_dim, from, args.layout.k_dim * sizeof(float));
  }
  if (scores_by_bytes(args)) quantize_queries(s.q, args.layout.k_dim, s.q8);
  clear_floats(s.merged, uint64_t{queries} * v_stride, 0.0F);
  clear_floats(s.merged_sum, queries, 0.0F);
  clear_floats(s.merged_max, queries, kNoScore);
  const uint32_t last_page = (args.first_slot + args.rows - 1) / kPageRows;
  const uint32_t low = args.window != 0 && args.first_slot + 1 > args.window ? args.first_slot + 1 - args.window : 0;
  for (uint32_t split = args.split_begin; split < args.split_end; ++split) {
    clear_floats(s.out, uint64_t{queries} * v_stride, 0.0F);
    clear_floats(s.sum, queries, 0.0F);
    clear_floats(s.max, queries, kNoScore);
    const uint32_t begin = split * kSplitPages < low / kPageRows ? low / kPageRows : split * kSplitPages;
    const uint32_t end = (split + 1) * kSplitPages < last_page + 1 ? (split + 1) * kSplitPages : last_page + 1;
    for (uint32_t page = begin; page < end; ++page) attend_page(args, s, queries, v_stride, page);
    for (uint32_t i = 0; i < queries; ++i) {
      float* out = s.out + v_stride * i;
      if (args.partial != nullptr) {
        float* to = args.partial + uint64_t{i} * (v_stride + 16);
        to[0] = s.max[i];
        to[1] = s.sum[i];
        __builtin_memcpy(to + 16, out, v_stride * sizeof(float));
      } else {
        merge_split(s.merged_max[i], s.merged_sum[i], s.merged + v_stride * i, s.max[i], s.sum[i], out, v_stride);
      }
    }
  }
  if (args.partial != nullptr) return;
  for (uint32_t i = 0; i < queries; ++i) finish_query(args, i, s.merged_max[i], s.merged_sum[i], s.merged + v_stride * i, v_stride);
}

void attention_merge(const AttentionArgs& args, const float* partials, uint64_t partial_floats, uint32_t splits) {
  const uint32_t queries = args.rows * args.heads;
  const uint32_t v_stride = (args.v_dim + 15) / 16 * 16;
  float* merged = reinterpret_cast<float*>(args.scratch);
  for (uint32_t i = 0; i < queries; ++i) {
    clear_floats(merged, v_stride, 0.0F);
    float max = kNoScore;
    float sum = 0.0F;
    for (uint32_t split = 0; split < splits; ++split) {
      const float* from = partials + split * partial_floats + uint64_t{i} * (v_stride + 16);
      merge_split(max, sum, merged, from[0], from[1], from + 16, v_stride);
    }
    finish_query(args, i, max, sum, merged, v_stride);
  }
}

}  // namespace
}  // namespace kvasir::cpu::KVASIR_ISA
