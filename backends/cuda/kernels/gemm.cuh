// Products of T16 weights with 5 to 64 rows of 8-bit activations, on tensor cores, with the very bits of gemv.cuh: integer
// sums per sub-block are exact whoever adds them, and the float operations behind them keep that kernel's order (even
// and odd sub-blocks apart, then the parts of K that its warps take). A block takes eight tiles and one part of K; a warp
// owns a tile, so weights are read once, and all share the part's activations. Parts are added by gemm_sum_kernel.
#pragma once

#include "backends/cuda/kernels/args.h"
#include "backends/cuda/kernels/async_copy.cuh"
#include "backends/cuda/kernels/gemv_parts.cuh"
#include "backends/cuda/kernels/gemv_shape.h"
#include "backends/cuda/kernels/linear_output.cuh"
#include "backends/cuda/kernels/mma.cuh"
#include "backends/cuda/kernels/t16_dot.cuh"

namespace kvasir::cuda {

/// A sub-block's weights as the A fragment of rows g and g + 8, and their float factors.
struct GemmRows {
  float scale[2], second[2];  ///< Q6_K: scale of the second half; others: minimum
};

/// Words of a nibble type: word t of each row, low nibbles as the first k of B, high ones as the second.
KVASIR_DEVICE void nibble_fragment(const uint8_t* rec, uint32_t j, uint32_t g, uint32_t t, uint32_t (&a)[4]) {
  KVASIR_UNROLL
  for (uint32_t h = 0; h < 2; ++h) {
    const uint32_t w = *reinterpret_cast<const uint32_t*>(rec + j * 256 + (g + 8 * h) * 16 + t * 4);
    a[h] = w & 0x0F0F0F0FU;
    a[2 + h] = w >> 4U & 0x0F0F0F0FU;
  }
}

template <Stored TYPE>
KVASIR_DEVICE GemmRows row_factors(const uint8_t* rec, uint32_t subs, uint32_t j, uint32_t g) {
  GemmRows f;
  KVASIR_UNROLL
  for (uint32_t h = 0; h < 2; ++h) {
    const uint32_t r = g + 8 * h;
    if constexpr (TYPE == Stored::kT16Q4_K || TYPE == Stored::kT16Q5_K) {
      const Bytes16 s = row_bytes16(rec, 8, r);
      const uint32_t pair = t16_scale_pair(s, j);
      f.scale[h] = times(pair & 63U, half_value(static_cast<uint16_t>(s.x & 0xFFFFU)));
      f.second[h] = times(pair >> 6U & 63U, half_value(static_cast<uint16_t>(s.x >> 16U)));
    } else if constexpr (TYPE == Stored::kT16Q6_K) {
      const int8_t* scales = reinterpret_cast<const int8_t*>(rec + 3072 + r * 16);
      const float d = half_in(rec + 3328 + 2 * r);
      f.scale[h] = static_cast<float>(scales[2 * j]) * d;
      f.second[h] = static_cast<float>(scales[2 * j + 1]) * d;
    } else if constexpr (TYPE == Stored::kT16Q4_1) {
      f.scale[h] = half_in(rec + subs * 256 + j * 64 + r * 4);
      f.second[h] = half_in(rec + subs * 256 + j * 64 + r * 4 + 2);
    } else {
      f.scale[h] = half_in(rec + subs * (TYPE == Stored::kT16Q8_0 ? 512 : 256) + j * 32 + r * 2);
      f.second[h] = 0.0F;
    }
  }
  return f;
}

/// The A fragment of sub-block j. Q6_K: its two halves of 16 k, each for mma_16, are a[0..1] and a[2..3].
template <Stored TYPE>
KVASIR_DEVICE void weight_fragment(const uint8_t* rec, uint32_t j, uint32_t g, uint32_t t, uint32_t (&a)[4]) {
  if constexpr (TYPE == Stored::kT16Q8_0) {
    KVASIR_UNROLL
    for (uint32_t i = 0; i < 4; ++i) a[i] = *reinterpret_cast<const uint32_t*>(rec + (2 * j + i / 2) * 256 + (g + 8 * (i % 2)) * 16 + t * 4);
  } else if constexpr (TYPE == Stored::kT16Q6_K) {
    KVASIR_UNROLL
    for (uint32_t i = 0; i < 4; ++i) {
      const uint32_t half = i / 2, r = g + 8 * (i % 2);
      const uint32_t w = *reinterpret_cast<const uint32_t*>(rec + j * 256 + r * 16 + (2 * half + t / 2) * 4);
      const uint32_t high = *reinterpret_cast<const uint32_t*>(rec + 2048 + j / 2 * 256 + r * 16 + j % 2 * 8 + half * 4);
      a[i] = (w >> (4 * (t % 2)) & 0x0F0F0F0FU) | (high >> (2 * t) & 0x03030303U) << 4U;
    }
  } else {
    nibble_fragment(rec, j, g, t, a);
    if constexpr (TYPE == Stored::kT16Q5_K) {
      KVASIR_UNROLL
      for (uint32_t i = 0; i < 4; ++i) {
        const uint32_t h = *reinterpret_cast<const uint32_t*>(rec + 2304 + j * 64 + (g + 8 * (i % 2)) * 4);
        a[i] |= (h >> (2 * t + i / 2) & 0x01010101U) << 4U;
      }
    }
  }
}

/// One sub-block times eight columns; `q` and `scales` begin at these columns.
template <Stored TYPE>
KVASIR_DEVICE void gemm_sub_block(const uint32_t (&a)[4], const GemmRows& rows, const int8_t* q, const Floats4* scales, uint32_t g, uint32_t t, float (&sums)[4]) {
  Floats4 x[2];
  x[0] = scales[2 * t];
  x[1] = scales[2 * t + 1];
  const uint32_t* words = reinterpret_cast<const uint32_t*>(q + g * 32);
  if constexpr (TYPE == Stored::kT16Q6_K) {
    KVASIR_UNROLL
    for (uint32_t half = 0; half < 2; ++half) {
      int c[4];
      KVASIR_UNROLL
      for (uint32_t i = 0; i < 4; ++i) c[i] = kMagicBits - 32 * static_cast<int>(as_bits(half == 0 ? x[i % 2].z : x[i % 2].w));
      const uint32_t part[2] = {a[2 * half], a[2 * half + 1]};
      mma_16(c, part, words[4 * half + t]);
      KVASIR_UNROLL
      for (uint32_t i = 0; i < 4; ++i) sums[i] = fmaf(half == 0 ? rows.scale[i / 2] : rows.second[i / 2], magic_float(c[i]) * x[i % 2].x, sums[i]);
    }
    return;
  }
  const uint32_t b[2] = {TYPE == Stored::kT16Q8_0 ? words[t] : words[2 * t], TYPE == Stored::kT16Q8_0 ? words[4 + t] : words[2 * t + 1]};
  int c[4];
  KVASIR_UNROLL
  for (uint32_t i = 0; i < 4; ++i) {
    c[i] = kMagicBits;
    if constexpr (TYPE == Stored::kT16Q4_0) c[i] -= 8 * (static_cast<int>(as_bits(x[i % 2].z)) + static_cast<int>(as_bits(x[i % 2].w)));
  }
  mma_32(c, a, b);
  KVASIR_UNROLL
  for (uint32_t i = 0; i < 4; ++i) {
    sums[i] = fmaf(rows.scale[i / 2], magic_float(c[i]) * x[i % 2].x, sums[i]);
    if constexpr (TYPE == Stored::kT16Q4_K || TYPE == Stored::kT16Q5_K) sums[i] = fmaf(-rows.second[i / 2], x[i % 2].y, sums[i]);
    if constexpr (TYPE == Stored::kT16Q4_1) sums[i] = fmaf(rows.second[i / 2], x[i % 2].y, sums[i]);
  }
}

/// Grid: (groups of eight tiles, parts of K). NT: groups of eight columns.
template <Stored TYPE, uint32_t NT>
KVASIR_KERNEL(kGemvWarps * kWarp, 1) gemm_kernel(KVASIR_ARGS(GemmArgs) a) {
  constexpr uint32_t kRecord = record_bytes(TYPE, 8), kColumns = 8 * NT;
  KVASIR_SHARED uint64_t barriers[kGemvWarps][kGemmDepth];
  const uint32_t lane = lane_id(), warp = warp_id(), g = lane / 4, t = lane % 4;
  const uint32_t subs = a.cols / 32, records = (a.cols + 255) / 256, parts = gemv_warps_per_tile(records);
  const uint32_t first = block_y() * records / parts, count = (block_y() + 1) * records / parts - first;
  const uint32_t tiles = a.part[a.parts - 1].end_tile;
  uint32_t tile = block_x() * kGemvWarps + warp;
  const bool mine = tile < tiles;
  const uint32_t which = mine ? part_of_tile(a, tile) : 0;
  uint8_t* ring_memory = dynamic_shared() + warp * kGemmDepth * kRecord;
  int8_t* q = reinterpret_cast<int8_t*>(dynamic_shared() + kGemvWarps * kGemmDepth * kRecord);
  const uint32_t part_subs = (subs < (first + count) * 8 ? subs : (first + count) * 8) - first * 8;
  Floats4* scales = reinterpret_cast<Floats4*>(q + part_subs * kColumns * 32);

  Ring<kGemmDepth> ring;
  ring.open(barriers[warp]);
  const auto fill = [&](uint32_t slot, uint32_t i) {
    const uint32_t record = first + i, left = subs - record * 8;
    ring.fill(slot, ring_memory + slot * kRecord, a.part[which].data + static_cast<uint64_t>(tile) * a.tile_bytes + static_cast<uint64_t>(record) * kRecord,
              record_bytes(TYPE, left < 8 ? left : 8));
  };
  for (uint32_t i = 0; i < kGemmDepth; ++i) {
    if (mine && i < count) fill(i, i);
    else ring.skip();
  }
  begin_dependent();

  // The part's activations; columns beyond the last row are zero.
  const uint32_t words = part_subs * kColumns * 8;
  for (uint32_t i = thread_x(); i < words; i += threads_x()) {
    const uint32_t column = i / 8 % kColumns, sub = i / 8 / kColumns;
    const uint64_t at = (static_cast<uint64_t>(first * 8 + sub) * a.columns + column) * 8 + i % 8;
    reinterpret_cast<uint32_t*>(q)[i] = column < a.columns ? reinterpret_cast<const uint32_t*>(a.q)[at] : 0;
  }
  for (uint32_t i = thread_x(); i < part_subs * kColumns; i += threads_x()) {
    const uint32_t column = i % kColumns, sub = i / kColumns;
    const Floats4 none = {0.0F, 0.0F, 0.0F, 0.0F};
    scales[i] = column < a.columns ? reinterpret_cast<const Floats4*>(a.scales)[static_cast<uint64_t>(first * 8 + sub) * a.columns + column] : none;
  }
  sync_block();
  if (!mine) return;  // no barrier of the block from here on

  float sums[2][NT][4] = {};
  uint32_t slot = 0, phase = 0;
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t left = subs - (first + i) * 8, here = left < 8 ? left : 8;
    const uint8_t* rec = ring_memory + slot * kRecord;
    ring.wait(slot, phase);
    KVASIR_UNROLL
    for (uint32_t j = 0; j < 8; ++j) {
      if (j >= here) continue;
      uint32_t fragment[4];
      weight_fragment<TYPE>(rec, j, g, t, fragment);
      const GemmRows rows = row_factors<TYPE>(rec, here, j, g);
      KVASIR_UNROLL
      for (uint32_t n = 0; n < NT; ++n) {
        const uint32_t at = (i * 8 + j) * kColumns + 8 * n;
        gemm_sub_block<TYPE>(fragment, rows, q + at * 32, scales + at, g, t, sums[j % 2][n]);
      }
    }
    sync_warp();
    if (i + kGemmDepth < count) fill(slot, i + kGemmDepth);
    else ring.skip();
    if (++slot == kGemmDepth) {
      slot = 0;
      phase ^= 1U;
    }
  }
  const GemvPart& p = a.part[which];
  float* to = a.partials + (static_cast<uint64_t>(block_y()) * a.all_rows + p.first_row) * a.columns;
  KVASIR_UNROLL
  for (uint32_t n = 0; n < NT; ++n) {
    KVASIR_UNROLL
    for (uint32_t i = 0; i < 4; ++i) {
      const uint32_t row = tile * kTileRows + g + 8 * (i / 2), column = 8 * n + 2 * t + i % 2;
      if (row < p.rows && column < a.columns) to[static_cast<uint64_t>(column) * p.rows + row] = sums[0][n][i] + sums[1][n][i];
    }
  }
}

/// Grid: (rows of the longest part / threads, columns, parts of the launch).
KVASIR_KERNEL(kGemvWarps * kWarp, 4) gemm_sum_kernel(KVASIR_ARGS(GemmArgs) a) {
  begin_dependent();
  const uint32_t row = block_x() * threads_x() + thread_x(), column = block_y();
  const GemvPart& p = a.part[block_z()];
  if (row >= p.rows) return;
  const uint32_t parts = gemv_warps_per_tile((a.cols + 255) / 256);
  float sum = 0.0F;
  for (uint32_t i = 0; i < parts; ++i) sum += a.partials[(static_cast<uint64_t>(i) * a.all_rows + p.first_row) * a.columns + static_cast<uint64_t>(column) * p.rows + row];
  write_output(p.out, column, row, sum);
}

}  // namespace kvasir::cuda
