// Scores against 8-bit keys without widening them: a page is a Q8_0 matrix of 64 rows and k_dim columns (4 panels), queries
// are quantised like activations (llama.cpp does the same), and linear_int.inl.h multiplies. Per query and key
//   s = fma(float(sum q k) * 2^p, dk, s)  per 32 values, in order; then s times the query's scale
// so nothing depends on which other queries share the tile.
#pragma once

namespace kvasir::cpu::KVASIR_ISA {
namespace {

constexpr uint32_t kQueryAux = static_cast<uint32_t>(Aux::kZero128);

/// Queries of a tile in the layout of LinearArgs: tiles of columns, kQueryAux.
struct Q8Queries {
  int8_t* q;
  float* aux;
  uint32_t count;
};

/// Odd sizes, MLA, which needs the keys as values, and exact activations go the way of widened keys.
KV_INLINE bool scores_by_bytes(const AttentionArgs& args) {
  return args.layout.kind == KvKind::kQ8_0 && args.layout.k_dim % 32 == 0 && !args.values_in_keys && !args.exact;
}

KV_INLINE uint32_t query_tiles(uint32_t queries) { return (queries + kTileColumns - 1) / kTileColumns; }

KV_INLINE void quantize_queries(const float* x, uint32_t k_dim, const Q8Queries& to) {
  const uint32_t tiles = query_tiles(to.count);
  for (uint32_t t = 0; t < tiles; ++t) {
    const TileSpan span = tile_span(to.count, tiles, t);
    QuantizeArgs args;
    args.k = k_dim;
    args.columns = span.count;
    args.q = to.q + uint64_t{span.first} * k_dim;
    args.aux[kQueryAux] = to.aux + span.first * aux_floats(kQueryAux, k_dim);
    for (uint32_t c = 0; c < span.count; ++c) {
      args.x = x + uint64_t{span.first + c} * k_dim;
      args.column = c;
      quantize_block_row(args);
    }
  }
}

/// K of a page [k_dim][64] as 4 panels in the format of Q8_0: per 32 k f16 scales[16], then [k / 4][16 rows][4].
KV_INLINE void pack_keys(const KvHeadLayout& layout, const uint8_t* head, uint8_t* panels) {
  const uint32_t blocks = layout.k_dim / 32;
  for (uint32_t b = 0; b < blocks; ++b) {
    for (uint32_t p = 0; p < kPageRows / kPanelRows; ++p) {
      __builtin_memcpy(panels + (p * blocks + b) * Q8_0::kBytes, head + layout.k_scales + 2 * (kPageRows * b + kPanelRows * p), 2 * kPanelRows);
    }
    for (uint32_t v = 0; v < 8; ++v) {
      interleave_page(head + uint64_t{kPageRows} * (32 * b + 4 * v), panels + b * Q8_0::kBytes + 32 + 64 * v, blocks * Q8_0::kBytes);
    }
  }
}

template <int Columns>
__attribute__((noinline)) void score_q8_tile(const uint8_t* panels, uint32_t k_dim, const int8_t* a, const float* aux, float* scores) {
  for (uint32_t p = 0; p < kPageRows / kPanelRows; ++p, panels += k_dim / 32 * Q8_0::kBytes) {
    for (uint32_t part = 0; part < kParts; ++part) {
      LF acc[Columns];
      dot_panel<Q8_0, Columns>(panels, k_dim, part, a, aux + Columns, Ahead{}, acc);
      KV_UNROLL
      for (int c = 0; c < Columns; ++c) {
        float* to = scores + kPageRows * static_cast<uint32_t>(c) + kPanelRows * p + kLanes * part;
        lf_store(to, lf_mul(acc[c], lf_set(aux[c])));
      }
    }
  }
}

template <int Max>
KV_INLINE void score_q8_tile_of(uint32_t columns, const uint8_t* panels, uint32_t k_dim, const int8_t* a, const float* aux, float* scores) {
  if constexpr (Max > 1) {
    if (columns < Max) return score_q8_tile_of<Max - 1>(columns, panels, k_dim, a, aux, scores);
  }
  score_q8_tile<Max>(panels, k_dim, a, aux, scores);
}

/// scores[queries][64] of one page; `panels`: scratch.
KV_INLINE void score_q8_page(const KvHeadLayout& layout, const uint8_t* head, const Q8Queries& q8, uint8_t* panels, float* scores) {
  pack_keys(layout, head, panels);
  const uint32_t tiles = query_tiles(q8.count);
  for (uint32_t t = 0; t < tiles; ++t) {
    const TileSpan span = tile_span(q8.count, tiles, t);
    score_q8_tile_of<kTileColumns>(span.count, panels, layout.k_dim, q8.q + uint64_t{span.first} * layout.k_dim,
                                   q8.aux + span.first * aux_floats(kQueryAux, layout.k_dim), scores + uint64_t{span.first} * kPageRows);
  }
}

/// V of a page for multiply_all(), straight from its bytes: as widen_values() would give it.
struct Q8Rows {
  const int8_t* at;
  const float* scales;  ///< of 32 columns each
  uint32_t stride, blocks, column;
  KV_INLINE Q8Rows from(const Q8Rows& rows, uint32_t column) { return {rows.at, rows.scales, rows.stride, rows.blocks, rows.column + column}; }
  KV_INLINE LF load(const Q8Rows& rows, uint32_t at) {
    const uint32_t column = rows.column + at;
    return lf_mul(lf_load_i8(reinterpret_cast<const uint8_t*>(rows.at + column)), lf_set(rows.scales[column / 32]));
  }
  KV_INLINE void next(Q8Rows& rows) {
    rows.at += rows.stride;
    rows.scales += rows.blocks;
  }
};

/// `scales`: scratch.
KV_INLINE Q8Rows q8_values(const KvHeadLayout& layout, const uint8_t* head, float* scales) {
  const uint32_t blocks = (layout.v_stride + 31) / 32;
  const uint16_t* halves = reinterpret_cast<const uint16_t*>(head + layout.v_scales);
  for (uint32_t i = 0; i < kPageRows * blocks; i += 16) f_store(scales + i, f_load_f16(halves + i));
  return {reinterpret_cast<const int8_t*>(head + layout.v), scales, layout.v_stride, blocks, 0};
}

}  // namespace
}  // namespace kvasir::cpu::KVASIR_ISA
