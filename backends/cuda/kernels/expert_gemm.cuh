// Products of experts' T16 weights with 8-bit activations on tensor cores, for rows that were put in order by expert: a block
// takes eight tiles and up to 64 items of one expert over all K, a record's activations at a time. An item's sums do not
// depend on who shares its block.
#pragma once

#include "backends/cuda/kernels/args.h"
#include "backends/cuda/kernels/async_copy.cuh"
#include "backends/cuda/kernels/gemm_fragment.cuh"
#include "backends/cuda/kernels/gemv_shape.h"

namespace kvasir::cuda {

/// The activations of record `record` for the group's items to shared memory, [sub-block][column][32] and their scales;
/// columns without an item are zero.
template <uint32_t COLUMNS>
KVASIR_DEVICE void gather_activations(const ExpertGemmArgs& a, const uint32_t* x_rows, uint32_t count, uint32_t record, uint32_t subs, int8_t* q, Floats4* scales) {
  const uint32_t all_subs = a.cols / 32;
  for (uint32_t i = thread_x(); i < subs * COLUMNS * 2; i += threads_x()) {
    const uint32_t column = i / 2 % COLUMNS, sub = i / 2 / COLUMNS;
    const Bytes16 none = {0, 0, 0, 0};
    const uint64_t at = static_cast<uint64_t>(x_rows[column]) * all_subs + record * 8 + sub;
    reinterpret_cast<Bytes16*>(q)[i] = column < count ? reinterpret_cast<const Bytes16*>(a.q)[2 * at + i % 2] : none;
  }
  for (uint32_t i = thread_x(); i < subs * COLUMNS; i += threads_x()) {
    const uint32_t column = i % COLUMNS, sub = i / COLUMNS;
    const Floats4 none = {0.0F, 0.0F, 0.0F, 0.0F};
    scales[i] = column < count ? reinterpret_cast<const Floats4*>(a.scales)[static_cast<uint64_t>(x_rows[column]) * all_subs + record * 8 + sub] : none;
  }
}

/// Grid: (groups of eight tiles, groups of items). NT: groups of eight columns.
template <Stored TYPE, uint32_t NT>
KVASIR_KERNEL(kGemvWarps * kWarp, 1) expert_gemm_kernel(KVASIR_ARGS(ExpertGemmArgs) a) {
  constexpr uint32_t kRecord = record_bytes(TYPE, 8), kColumns = 8 * NT;
  KVASIR_SHARED uint64_t barriers[kGemvWarps][kGemmDepth];
  KVASIR_SHARED uint32_t items[kColumns], x_rows[kColumns];
  begin_dependent();  // which expert it is, the kernel before says
  const ExpertGroup group = a.groups[block_y()];
  if (group.count == 0) return;
  const uint32_t lane = lane_id(), warp = warp_id(), g = lane / 4, t = lane % 4;
  const uint32_t subs = a.cols / 32, records = (a.cols + 255) / 256, tile = block_x() * kGemvWarps + warp;
  const bool mine = tile * kTileRows < a.rows;
  const uint8_t* weights = a.data + group.expert * a.expert_bytes + static_cast<uint64_t>(tile) * a.tile_bytes;
  uint8_t* ring_memory = dynamic_shared() + warp * kGemmDepth * kRecord;
  int8_t* q = reinterpret_cast<int8_t*>(dynamic_shared() + kGemvWarps * kGemmDepth * kRecord);
  Floats4* scales = reinterpret_cast<Floats4*>(q + 8 * kColumns * 32);

  Ring<kGemmDepth> ring;
  ring.open(barriers[warp]);
  const auto fill = [&](uint32_t slot, uint32_t record) {
    const uint32_t left = subs - record * 8;
    ring.fill(slot, ring_memory + slot * kRecord, weights + static_cast<uint64_t>(record) * kRecord, record_bytes(TYPE, left < 8 ? left : 8));
  };
  for (uint32_t i = 0; i < kGemmDepth; ++i) {
    if (mine && i < records) fill(i, i);
    else ring.skip();
  }
  for (uint32_t column = thread_x(); column < kColumns; column += threads_x()) {
    items[column] = a.order[group.first + (column < group.count ? column : 0)];
    x_rows[column] = items[column] / a.items_per_x;
  }

  float sums[NT][4] = {};
  uint32_t slot = 0, phase = 0;
  for (uint32_t record = 0; record < records; ++record) {
    const uint32_t left = subs - record * 8, here = left < 8 ? left : 8;
    sync_block();  // the items are known, and nobody reads the activations before these any more
    gather_activations<kColumns>(a, x_rows, group.count, record, here, q, scales);
    sync_block();
    if (!mine) continue;
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
        if (8 * n >= group.count) continue;  // the whole block agrees
        const uint32_t at = j * kColumns + 8 * n;
        gemm_sub_block<TYPE>(fragment, rows, q + at * 32, scales + at, g, t, sums[n]);
      }
    }
    sync_warp();
    if (record + kGemmDepth < records) fill(slot, record + kGemmDepth);
    else ring.skip();
    if (++slot == kGemmDepth) {
      slot = 0;
      phase ^= 1U;
    }
  }
  if (!mine) return;
  KVASIR_UNROLL
  for (uint32_t n = 0; n < NT; ++n) {
    KVASIR_UNROLL
    for (uint32_t i = 0; i < 4; ++i) {
      const uint32_t row = tile * kTileRows + g + 8 * (i / 2), column = 8 * n + 2 * t + i % 2;
      if (row >= a.rows || column >= group.count) continue;
      const float bias = a.bias != nullptr ? a.bias[static_cast<uint64_t>(group.expert) * a.rows + row] : 0.0F;
      a.y[items[column] * a.y_stride + row] = sums[n][i] + bias;
    }
  }
}

}  // namespace kvasir::cuda
