// bf16 weights times bf16 activations (vdpbf16ps): two k per step, in k order, for every tile shape. The instruction
// flushes subnormals and rounds its two products together, which the numerics version of the table covers.
#pragma once

namespace kvasir::cpu::KVASIR_ISA {
namespace {

template <int Columns, int Panels>
__attribute__((noinline)) void bf16_tile(const LinearArgs& args, const uint8_t* panel, uint32_t row, uint32_t column, Ahead ahead) {
  const uint32_t pairs = (args.k + 1) / 2;
  const uint16_t* x = args.h + uint64_t{column} * 2 * pairs;
  F acc[Panels][Columns];
  KV_UNROLL
  for (int p = 0; p < Panels; ++p) {
    KV_UNROLL
    for (int c = 0; c < Columns; ++c) acc[p][c] = f_zero();
  }
  KV_NO_UNROLL
  for (uint32_t i = 0; i < pairs; ++i, x += 2 * Columns, panel += 64) {
    if constexpr (Columns >= 3) Ahead::fetch(ahead);
    KV_UNROLL
    for (int p = 0; p < Panels; ++p) {
      const auto w = reinterpret_cast<__m512bh>(_mm512_loadu_si512(panel + static_cast<uint64_t>(p) * args.panel_bytes));
      KV_UNROLL
      for (int c = 0; c < Columns; ++c) {
        const auto pair = reinterpret_cast<__m512bh>(_mm512_set1_epi32(load_i32(x + 2 * c)));
        acc[p][c] = _mm512_dpbf16_ps(acc[p][c], w, pair);
      }
    }
  }
  alignas(64) float sums[Panels][Columns][kPanelRows];
  KV_UNROLL
  for (int p = 0; p < Panels; ++p) {
    KV_UNROLL
    for (int c = 0; c < Columns; ++c) f_store(sums[p][c], acc[p][c]);
  }
  for (int p = 0; p < Panels; ++p) store_tile(args, sums[p][0], row + 16 * static_cast<uint32_t>(p), column, Columns);
}

/// Runs all column counts from 1 to Max; narrow tiles take several panels at once while enough are left.
template <int Max>
KV_INLINE uint32_t bf16_tile_of(uint32_t columns, uint32_t panels, const LinearArgs& args, const uint8_t* panel, uint32_t row,
                                uint32_t column, Ahead ahead) {
  if constexpr (Max > 1) {
    if (columns < Max) return bf16_tile_of<Max - 1>(columns, panels, args, panel, row, column, ahead);
  }
  constexpr int kTogether = Max <= 3 ? 4 : 1;
  if (panels >= kTogether) {
    bf16_tile<Max, kTogether>(args, panel, row, column, {});
    return kTogether;
  }
  bf16_tile<Max, 1>(args, panel, row, column, ahead);
  return 1;
}

void linear_bf16(const LinearArgs& args, uint32_t panel_begin, uint32_t panel_end, uint32_t tile_begin, uint32_t tile_end) {
  for (uint32_t p = panel_begin; p < panel_end;) {
    uint32_t done = 1;
    for (uint32_t t = tile_begin; t < tile_end; ++t) {
      const TileSpan span = tile_span(args.columns, args.tiles, t);
      const uint32_t together = args.tiles == 1 ? panel_end - p : 1;
      done = bf16_tile_of<kTileColumns>(span.count, together, args, args.panels + p * args.panel_bytes, p * kPanelRows, span.first,
                                        next_panel(args, p, panel_end, t == tile_begin, (args.k + 1) / 2));
    }
    p += done;
  }
}

/// As peak_int8() and peak_f32() of peak.inl.h.
uint64_t peak_bf16(uint32_t rounds) {
  constexpr uint32_t kColumns = 12;
  F sums[kColumns];
  KV_UNROLL
  for (uint32_t c = 0; c < kColumns; ++c) sums[c] = f_zero();
  const auto pairs = reinterpret_cast<__m512bh>(_mm512_set1_epi32(0x3F003F00));
  KV_NO_UNROLL
  for (uint32_t i = 0; i < rounds; ++i) {
    KV_UNROLL
    for (uint32_t c = 0; c < kColumns; ++c) sums[c] = _mm512_dpbf16_ps(sums[c], pairs, pairs);
  }
  alignas(64) float out[kLanes];
  KV_UNROLL
  for (uint32_t c = 0; c < kColumns; ++c) {
    f_store(out, sums[c]);
    __asm__ volatile("" : : "r"(out) : "memory");
  }
  return uint64_t{rounds} * 4 * kLanes * kColumns;
}

}  // namespace
}  // namespace kvasir::cpu::KVASIR_ISA
