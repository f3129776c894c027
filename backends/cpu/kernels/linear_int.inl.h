// Integer GEMM, small batch and GEMV in one: a panel of 16 rows times a tile of 1..kTileColumns activation rows.
//
// Numerics (decisions.md 9): per output and block of 32 (16 where kHalves), in k order and always the same:
//   isum = sum q * a - zero * sum a          exact, 32-bit
//   acc  = fma(float(isum) * 2^p, dw, acc)
//   acc  = fma(min, sum a * 2^p, acc)        formats with minima
// and in the end acc * (the scale of the row of x), where 2^p is what the block's scale is of that. So a result depends on
// its row of x and its row of w only, not on the tile shape or who computes it. Why powers of two: they are added to the
// exponent, by units that do not multiply; a factor of any size costs a tenth of all products (linear_super.inl.h).
// kSuper formats have an order of their own there.
#pragma once

#include "backends/cpu/kernels/linear_super.inl.h"

namespace kvasir::cpu::KVASIR_ISA {
namespace {

/// y = scale * (sum + bias) (+ y) for 16 (fewer in the last panel) rows of `columns` columns; sums[column][16].
__attribute__((noinline)) void store_tile(const LinearArgs& args, const float* sums, uint32_t row, uint32_t column,
                                          uint32_t columns) {
  const uint32_t rows = args.m - row < kPanelRows ? args.m - row : kPanelRows;
  float bias[kPanelRows] = {};
  if (args.bias != nullptr) __builtin_memcpy(bias, args.bias + row, rows * sizeof(float));
  for (uint32_t c = 0; c < columns; ++c, sums += kPanelRows) {
    float* y = args.y + (column + c) * args.y_stride + row;
    if (rows < kPanelRows) {
      for (uint32_t i = 0; i < rows; ++i) {
        const float value = (sums[i] + bias[i]) * args.scale;
        y[i] = args.accumulate ? y[i] + value : value;
      }
      continue;
    }
    for (uint32_t part = 0; part < kParts; ++part) {
      const uint32_t at = kLanes * part;
      LF value = lf_mul(lf_add(lf_load(sums + at), lf_load(bias + at)), lf_set(args.scale));
      if (args.accumulate) value = lf_add(lf_load(y + at), value);
      lf_store(y + at, value);
    }
  }
}

/// One 32-block (or one half of it) for all columns of the tile.
template <class W, int Columns, int Vectors>
KV_INLINE void add_block(const LQ* q, LF dw, LF mw, const int8_t* a, const float* powers, const float* sums, LF* acc) {
  constexpr int kAtOnce = W::kMin ? 1 : columns_at_once(Columns);  // with minima it costs 2 %
  KV_UNROLL
  for (int first = 0; first < Columns; first += kAtOnce) {
    LI s[kAtOnce];
    start_sums<W, kAtOnce>(sums + first, s);
    lq_dot_columns<W::kBits, Vectors, kAtOnce>(s, q, a + 4 * first, 4 * Columns);
    KV_UNROLL
    for (int c = first; c < first + kAtOnce; ++c) {
      acc[c] = lf_fma(lf_raise(lf_from_i(s[c - first]), load_i32(powers + c)), dw, acc[c]);
      if constexpr (W::kMin) acc[c] = lf_fma(mw, lf_set(sums[c]), acc[c]);
    }
  }
}

/// 32 values of k: q of the 16 rows' part times the tile.
template <class W, int Columns>
KV_INLINE void dot_32(const uint8_t* panel, uint32_t b, uint32_t part, const LQ* q, const int8_t* a, const float* aux, LF* acc) {
  if constexpr (W::kHalves) {
    add_block<W, Columns, 4>(q, W::scale(panel, 2 * b, part), W::min(panel, 2 * b, part), a, aux, aux + Columns, acc);
    add_block<W, Columns, 4>(q + 4, W::scale(panel, 2 * b + 1, part), W::min(panel, 2 * b + 1, part),
                             a + 16 * Columns, aux, aux + 2 * Columns, acc);
  } else {
    add_block<W, Columns, 8>(q, W::scale(panel, b, part), W::min(panel, b, part), a, aux, aux + Columns, acc);
  }
}

/// acc = the panel times the tile, still without the scales of the columns. `aux`: behind them.
template <class W, int Columns>
KV_INLINE void dot_panel(const uint8_t* panel, uint32_t k, uint32_t part, const int8_t* a, const float* aux, Ahead ahead, LF* acc) {
  KV_UNROLL
  for (int c = 0; c < Columns; ++c) acc[c] = lf_zero();
  constexpr int kAuxFloats = Columns * (W::kHalves ? 3 : 2);
  const uint32_t blocks = k / (32 * W::kBlocks);
  KV_NO_UNROLL
  for (uint32_t p = 0; p < blocks; ++p, panel += W::kBytes) {
    KV_NO_UNROLL
    for (uint32_t b = 0; b < W::kBlocks; ++b, a += 32 * Columns, aux += kAuxFloats) {
      LQ q[8];
      if constexpr (Columns >= 3) {
        Ahead::fetch(ahead);
      }
      W::quants(panel, b, part, q);
      dot_32<W, Columns>(panel, b, part, q, a, aux, acc);
    }
  }
}

template <class W, int Columns>
__attribute__((noinline)) void int_tile(const LinearArgs& args, const uint8_t* panel, uint32_t row, uint32_t column, Ahead ahead) {
  const int8_t* a = args.q + uint64_t{column} * args.k;
  const float* aux = args.aux + column * aux_floats(static_cast<uint32_t>(W::kAux), args.k);
  alignas(64) float sums[Columns][kPanelRows];
  KV_NO_UNROLL
  for (uint32_t part = 0; part < kParts; ++part) {
    if constexpr (W::kSuper) {
      dot_super_panel<W, Columns>(panel, args.k, part, a, aux, part == 0 ? ahead : Ahead{}, sums[0] + kLanes * part);
    } else {
      LF acc[Columns];
      dot_panel<W, Columns>(panel, args.k, part, a, aux + Columns, part == 0 ? ahead : Ahead{}, acc);
      KV_UNROLL
      for (int c = 0; c < Columns; ++c) lf_store(sums[c] + kLanes * part, lf_mul(acc[c], lf_set(aux[c])));
    }
  }
  store_tile(args, sums[0], row, column, Columns);
}

/// Calls the kernel for `columns` in 1..Max.
template <class W, int Max>
KV_INLINE void int_tile_of(uint32_t columns, const LinearArgs& args, const uint8_t* panel, uint32_t row, uint32_t column, Ahead ahead) {
  if constexpr (Max > 1) {
    if (columns < Max) return int_tile_of<W, Max - 1>(columns, args, panel, row, column, ahead);
  }
  int_tile<W, Max>(args, panel, row, column, ahead);
}

/// The panel after `panel`, fetched in `pieces`, for the first tile that meets this one.
KV_INLINE Ahead next_panel(const LinearArgs& args, uint32_t panel, uint32_t panel_end, bool first_tile, uint32_t pieces) {
  if (!first_tile || panel + 1 >= panel_end) return {};
  return {args.panels + (panel + 1) * args.panel_bytes, static_cast<uint32_t>(args.panel_bytes / pieces)};
}

/// One 32-block of an expanded panel.
template <class W>
KV_INLINE void store_expanded(const uint8_t* panel, uint32_t b, uint32_t part, const LQ* q, uint8_t* out) {
  constexpr uint32_t kScales = W::kHalves ? 2 : 1;
  KV_UNROLL
  for (uint32_t v = 0; v < 8; ++v) lq_store(out + 64 * v + 4 * kLanes * part, q[v]);
  float* floats = reinterpret_cast<float*>(out + 512) + kLanes * part;
  for (uint32_t s = 0; s < kScales; ++s) {
    lf_store(floats + 16 * s, W::scale(panel, kScales * b + s, part));
    if constexpr (W::kMin) lf_store(floats + 16 * (kScales + s), W::min(panel, kScales * b + s, part));
  }
}

/// Unpacks a whole panel into 8-bit quants and f32 scales: once per panel for all tiles of a call.
template <class W>
__attribute__((noinline)) void expand_panel(const uint8_t* panel, uint32_t k, uint8_t* out) {
  if constexpr (W::kSuper) {
    expand_super_panel<W>(panel, k, out);
  } else {
    KV_NO_UNROLL
    for (uint32_t p = 0; p < k / (32 * W::kBlocks); ++p, panel += W::kBytes) {
      KV_NO_UNROLL
      for (uint32_t b = 0; b < W::kBlocks; ++b, out += ExpandedOf<W>::kBytes) {
        for (uint32_t part = 0; part < kParts; ++part) {
          LQ q[8];
          W::quants(panel, b, part, q);
          store_expanded<W>(panel, b, part, q, out);
        }
      }
    }
  }
  copy_is_an_effect();
}

/// The same for codebooks: all lookups of a packed block come first.
template <class W>
__attribute__((noinline)) void look_up_panel(const uint8_t* panel, uint32_t k, uint8_t* out) {
  alignas(64) Eights eights[W::kBlocks];
  KV_NO_UNROLL
  for (uint32_t p = 0; p < k / (32 * W::kBlocks); ++p, panel += W::kBytes) {
    KV_NO_UNROLL
    for (uint32_t b = 0; b < W::kBlocks; ++b) W::look_up(panel, b, eights[b]);
    KV_NO_UNROLL
    for (uint32_t b = 0; b < W::kBlocks; ++b, out += ExpandedOf<W>::kBytes) {
      for (uint32_t part = 0; part < kParts; ++part) {
        LQ q[8];
        finish_lookup<W>(panel, b, part, eights[b], q);
        store_expanded<W>(panel, b, part, q, out);
      }
    }
  }
  copy_is_an_effect();
}

/// Formats whose quants are cheap to unpack: straight from the packed panel for every tile.
template <class W>
void linear_int_direct(const LinearArgs& args, uint32_t panel_begin, uint32_t panel_end, uint32_t tile_begin,
                       uint32_t tile_end) {
  for (uint32_t p = panel_begin; p < panel_end; ++p) {
    const uint8_t* panel = args.panels + p * args.panel_bytes;
    for (uint32_t t = tile_begin; t < tile_end; ++t) {
      const TileSpan span = tile_span(args.columns, args.tiles, t);
      int_tile_of<W, kTileColumns>(span.count, args, panel, p * kPanelRows, span.first,
                                   next_panel(args, p, panel_end, t == tile_begin, args.k / 32));
    }
  }
}

/// Every tile from a copy of the panel that is made once.
template <class W, void (*Copy)(const uint8_t*, uint32_t, uint8_t*)>
void linear_int_copied(const LinearArgs& args, uint32_t panel_begin, uint32_t panel_end, uint32_t tile_begin,
                       uint32_t tile_end) {
  for (uint32_t p = panel_begin; p < panel_end; ++p) {
    Copy(args.panels + p * args.panel_bytes, args.k, args.scratch);
    for (uint32_t t = tile_begin; t < tile_end; ++t) {
      const TileSpan span = tile_span(args.columns, args.tiles, t);
      int_tile_of<ExpandedOf<W>, kTileColumns>(span.count, args, args.scratch, p * kPanelRows, span.first,
                                               next_panel(args, p, panel_end, t == tile_begin, args.k / 32));
    }
  }
}

/// Formats that take a few operations to unpack: one tile straight from the panel, more from a copy.
template <class W>
void linear_int_expanded(const LinearArgs& args, uint32_t panel_begin, uint32_t panel_end, uint32_t tile_begin,
                         uint32_t tile_end) {
  if (args.tiles == 1) return linear_int_direct<W>(args, panel_begin, panel_end, tile_begin, tile_end);
  linear_int_copied<W, expand_panel<W>>(args, panel_begin, panel_end, tile_begin, tile_end);
}

/// Those that take many, and rare ones: only one column straight from the panel, which also keeps their code small.
template <class W>
void linear_int_unpacked(const LinearArgs& args, uint32_t panel_begin, uint32_t panel_end, uint32_t tile_begin,
                         uint32_t tile_end) {
  if (args.columns != 1) return linear_int_copied<W, expand_panel<W>>(args, panel_begin, panel_end, tile_begin, tile_end);
  for (uint32_t p = panel_begin; p < panel_end; ++p) int_tile<W, 1>(args, args.panels + p * args.panel_bytes, p * kPanelRows, 0, {});
}

/// A panel of a codebook format times one column: all lookups of a packed block, then its products.
template <class W>
__attribute__((noinline)) void looked_up_column(const LinearArgs& args, const uint8_t* panel, uint32_t row) {
  constexpr uint32_t kAuxFloats = W::kHalves ? 3 : 2;
  const int8_t* a = args.q;
  const float* aux = args.aux + 1;
  alignas(64) Eights eights[W::kBlocks];
  LF acc[kParts];
  for (uint32_t part = 0; part < kParts; ++part) acc[part] = lf_zero();
  KV_NO_UNROLL
  for (uint32_t p = 0; p < args.k / (32 * W::kBlocks); ++p, panel += W::kBytes) {
    KV_NO_UNROLL
    for (uint32_t b = 0; b < W::kBlocks; ++b) W::look_up(panel, b, eights[b]);
    KV_NO_UNROLL
    for (uint32_t b = 0; b < W::kBlocks; ++b, a += 32, aux += kAuxFloats) {
      KV_UNROLL
      for (uint32_t part = 0; part < kParts; ++part) {
        LQ q[8];
        finish_lookup<W>(panel, b, part, eights[b], q);
        dot_32<W, 1>(panel, b, part, q, a, aux, acc + part);
      }
    }
  }
  alignas(64) float sums[kPanelRows];
  for (uint32_t part = 0; part < kParts; ++part) lf_store(sums + kLanes * part, lf_mul(acc[part], lf_set(args.aux[0])));
  store_tile(args, sums, row, 0, 1);
}

template <class W>
void linear_int_looked_up(const LinearArgs& args, uint32_t panel_begin, uint32_t panel_end, uint32_t tile_begin,
                          uint32_t tile_end) {
  if (args.columns != 1) return linear_int_copied<W, look_up_panel<W>>(args, panel_begin, panel_end, tile_begin, tile_end);
  for (uint32_t p = panel_begin; p < panel_end; ++p) looked_up_column<W>(args, args.panels + p * args.panel_bytes, p * kPanelRows);
}

}  // namespace
}  // namespace kvasir::cpu::KVASIR_ISA
