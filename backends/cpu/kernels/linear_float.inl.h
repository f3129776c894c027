// GEMM and GEMV with f32 activations: float weights always, integer weights decoded to f32 where the caller wants
// exact activations (Activations::kF32). acc = fma(x[k], w[k], acc) in k order, for every tile shape.
#pragma once

namespace kvasir::cpu::KVASIR_ISA {
namespace {

/// Panels are [k][16], bf16 in pairs [k / 2][16][2] with K padded to even. load() gives two consecutive k.
struct WeightF32 {
  static constexpr uint32_t kPairBytes = 128;
  KV_INLINE void load(const uint8_t* p, uint32_t part, LF& w0, LF& w1) {
    const float* f = reinterpret_cast<const float*>(p) + kLanes * part;
    w0 = lf_load(f);
    w1 = lf_load(f + 16);
  }
};
struct WeightF16 {
  static constexpr uint32_t kPairBytes = 64;
  KV_INLINE void load(const uint8_t* p, uint32_t part, LF& w0, LF& w1) {
    w0 = lf_load_f16(p + 2 * kLanes * part);
    w1 = lf_load_f16(p + 32 + 2 * kLanes * part);
  }
};
struct WeightBF16 {
  static constexpr uint32_t kPairBytes = 64;
  KV_INLINE void load(const uint8_t* p, uint32_t part, LF& w0, LF& w1) { lf_load_bf16_pair(p + 4 * kLanes * part, w0, w1); }
};

/// `Panels` panels at once (their sums are independent chains, which hides the latency where columns are few).
template <class W, int Columns, int Panels>
__attribute__((noinline)) void float_tile(const LinearArgs& args, const uint8_t* panel, uint64_t panel_bytes,
                                          uint32_t row, uint32_t column, Ahead ahead) {
  const uint32_t pairs = (args.k + 1) / 2;
  const float* x = args.f + uint64_t{column} * 2 * pairs;
  LF acc[Panels][kParts][Columns];
  KV_UNROLL
  for (int p = 0; p < Panels; ++p) {
    KV_UNROLL
    for (uint32_t part = 0; part < kParts; ++part) {
      KV_UNROLL
      for (int c = 0; c < Columns; ++c) acc[p][part][c] = lf_zero();
    }
  }
  KV_NO_UNROLL
  for (uint32_t i = 0; i < pairs; ++i, x += 2 * Columns, panel += W::kPairBytes) {
    if constexpr (Columns >= 3) Ahead::fetch(ahead);
    KV_UNROLL
    for (int p = 0; p < Panels; ++p) {
      LF w[kParts][2];
      KV_UNROLL
      for (uint32_t part = 0; part < kParts; ++part) {
        W::load(panel + static_cast<uint64_t>(p) * panel_bytes, part, w[part][0], w[part][1]);
      }
      KV_UNROLL
      for (int k = 0; k < 2; ++k) {
        KV_UNROLL
        for (int c = 0; c < Columns; ++c) {
          const LF factor = lf_set(x[k * Columns + c]);
          KV_UNROLL
          for (uint32_t part = 0; part < kParts; ++part) acc[p][part][c] = lf_fma(factor, w[part][k], acc[p][part][c]);
        }
      }
    }
  }
  alignas(64) float sums[Panels][Columns][kPanelRows];
  KV_UNROLL
  for (int p = 0; p < Panels; ++p) {
    KV_UNROLL
    for (uint32_t part = 0; part < kParts; ++part) {
      KV_UNROLL
      for (int c = 0; c < Columns; ++c) lf_store(sums[p][c] + kLanes * part, acc[p][part][c]);
    }
  }
  for (int p = 0; p < Panels; ++p) store_tile(args, sums[p][0], row + 16 * static_cast<uint32_t>(p), column, Columns);
}

/// Runs all column counts from 1 to Max; narrow tiles take several panels at once while enough are left.
template <class W, int Max>
KV_INLINE uint32_t float_tile_of(uint32_t columns, uint32_t panels, const LinearArgs& args, const uint8_t* panel,
                                 uint64_t panel_bytes, uint32_t row, uint32_t column, Ahead ahead = {}) {
  if constexpr (Max > 1) {
    if (columns < Max) return float_tile_of<W, Max - 1>(columns, panels, args, panel, panel_bytes, row, column, ahead);
  }
  constexpr int kTogether = Max == 1 ? 4 : (Max == 2 && kLanes == 16 ? 2 : 1);
  if (panels >= kTogether) {
    float_tile<W, Max, kTogether>(args, panel, panel_bytes, row, column, {});
    return kTogether;
  }
  float_tile<W, Max, 1>(args, panel, panel_bytes, row, column, ahead);
  return 1;
}

template <class W>
void linear_float_direct(const LinearArgs& args, uint32_t panel_begin, uint32_t panel_end, uint32_t tile_begin,
                         uint32_t tile_end) {
  if (args.tiles == 1) {
    for (uint32_t p = panel_begin; p < panel_end;) {
      p += float_tile_of<W, kTileColumns>(args.columns, panel_end - p, args, args.panels + p * args.panel_bytes,
                                          args.panel_bytes, p * kPanelRows, 0);
    }
    return;
  }
  for (uint32_t p = panel_begin; p < panel_end; ++p) {
    for (uint32_t t = tile_begin; t < tile_end; ++t) {
      const TileSpan span = tile_span(args.columns, args.tiles, t);
      float_tile_of<W, kTileColumns>(span.count, 1, args, args.panels + p * args.panel_bytes, args.panel_bytes,
                                     p * kPanelRows, span.first, next_panel(args, p, panel_end, t == tile_begin, (args.k + 1) / 2));
    }
  }
}

/// 32 values of 16 rows as [32][16] floats: each scale * (q - zero) or scale * q + min, rounded as ggml rounds.
template <class W>
KV_INLINE void decode_block(const uint8_t* panel, uint32_t b, uint32_t part, float* out) {
  LQ q[8];
  W::quants(panel, b, part, q);
  for (uint32_t half = 0; half < 2; ++half) {
    const uint32_t s = W::kHalves ? 2 * b + half : b;
    const LF dw = W::scale(panel, s, part);
    const LF mw = W::min(panel, s, part);
    KV_UNROLL
    for (uint32_t v = 0; v < 4; ++v) {
      KV_UNROLL
      for (uint32_t i = 0; i < 4; ++i) {
        LF w = lf_mul(dw, lf_from_i(li_byte(q[4 * half + v], static_cast<int>(i), W::kZero)));
        if constexpr (W::kMin) w = lf_add(w, mw);
        lf_store(out + 16 * (16 * half + 4 * v + i) + kLanes * part, w);
      }
    }
  }
}

template <class W>
__attribute__((noinline)) void decode_panel(const uint8_t* panel, uint32_t k, float* out) {
  KV_NO_UNROLL
  for (uint32_t p = 0; p < k / (32 * W::kBlocks); ++p, panel += W::kBytes) {
    KV_NO_UNROLL
    for (uint32_t b = 0; b < W::kBlocks; ++b, out += 512) {
      for (uint32_t part = 0; part < kParts; ++part) decode_block<W>(panel, b, part, out);
    }
  }
}

template <class W>
void linear_int_as_float(const LinearArgs& args, uint32_t panel_begin, uint32_t panel_end, uint32_t tile_begin,
                         uint32_t tile_end) {
  for (uint32_t p = panel_begin; p < panel_end; ++p) {
    decode_panel<W>(args.panels + p * args.panel_bytes, args.k, reinterpret_cast<float*>(args.scratch));
    for (uint32_t t = tile_begin; t < tile_end; ++t) {
      const TileSpan span = tile_span(args.columns, args.tiles, t);
      float_tile_of<WeightF32, kTileColumns>(span.count, 1, args, args.scratch, 0, p * kPanelRows, span.first);
    }
  }
}

template <class W>
void decode_row_int(const uint8_t* panel, uint32_t row, uint32_t k, float* out) {
  float block[512];
  KV_NO_UNROLL
  for (uint32_t p = 0; p < k / (32 * W::kBlocks); ++p, panel += W::kBytes) {
    KV_NO_UNROLL
    for (uint32_t b = 0; b < W::kBlocks; ++b) {
      decode_block<W>(panel, b, row / kLanes, block);
      for (uint32_t i = 0; i < 32; ++i) *out++ = block[16 * i + row];
    }
  }
}

template <class W>
void decode_row_float(const uint8_t* panel, uint32_t row, uint32_t k, float* out) {
  float lanes[2][kPanelRows];
  for (uint32_t i = 0; i < k; i += 2, panel += W::kPairBytes) {
    LF w0;
    LF w1;
    W::load(panel, row / kLanes, w0, w1);
    lf_store(lanes[0] + kLanes * (row / kLanes), w0);
    lf_store(lanes[1] + kLanes * (row / kLanes), w1);
    out[i] = lanes[0][row];
    if (i + 1 < k) out[i + 1] = lanes[1][row];
  }
}

}  // namespace
}  // namespace kvasir::cpu::KVASIR_ISA
