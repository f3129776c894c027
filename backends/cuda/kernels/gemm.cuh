// Products of T16 weights with 5 to 64 rows of 8-bit activations, on tensor cores, with the very bits of gemv.cuh: integer
// sums per sub-block are exact whoever adds them, and the float operations behind them keep that kernel's order (even
// and odd sub-blocks apart, then the parts of K that its warps take). A block takes eight tiles and one part of K; a warp
// owns a tile, so weights are read once, and all share the part's activations. Parts are added by gemm_sum_kernel.
#pragma once

#include "backends/cuda/kernels/args.h"
#include "backends/cuda/kernels/async_copy.cuh"
#include "backends/cuda/kernels/gemm_fragment.cuh"
#include "backends/cuda/kernels/gemv_parts.cuh"
#include "backends/cuda/kernels/gemv_shape.h"
#include "backends/cuda/kernels/linear_output.cuh"

namespace kvasir::cuda {

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
