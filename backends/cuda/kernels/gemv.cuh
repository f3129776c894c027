// Products of T16 weights with up to four rows of 8-bit activations, bound by memory: every warp streams its own records
// through a ring in shared memory and never waits for another warp but once per tile. Several warps share a tile's
// records where K is long; their sums are added in warp order. A column's sum does not depend on the other columns.
#pragma once

#include "backends/cuda/kernels/args.h"
#include "backends/cuda/kernels/async_copy.cuh"
#include "backends/cuda/kernels/gemv_parts.cuh"
#include "backends/cuda/kernels/gemv_shape.h"
#include "backends/cuda/kernels/linear_output.cuh"
#include "backends/cuda/kernels/simt.h"
#include "backends/cuda/kernels/t16_dot.cuh"

namespace kvasir::cuda {

/// Grid: (blocks that share the tiles, groups of columns). Columns of group y begin at y * NC.
template <Stored TYPE, uint32_t NC>
KVASIR_KERNEL(kGemvWarps * kWarp, 2) gemv_kernel(KVASIR_ARGS(GemvArgs) a) {
  constexpr uint32_t kDepth = gemv_depth(TYPE), kRecord = record_bytes(TYPE, 8);
  KVASIR_SHARED uint64_t barriers[kGemvWarps][kDepth];
  KVASIR_SHARED float partial[2][kGemvWarps][kTileRows][NC];
  const uint32_t lane = lane_id(), warp = warp_id(), subs = a.cols / 32, records = (a.cols + 255) / 256;
  uint8_t* memory = dynamic_shared();
  uint8_t* ring_memory = memory + warp * kDepth * kRecord;
  int8_t* q = reinterpret_cast<int8_t*>(memory + kGemvWarps * kDepth * kRecord);
  Floats4* scales = reinterpret_cast<Floats4*>(q + subs * NC * 32);

  const uint32_t sharing = gemv_warps_per_tile(records), together = kGemvWarps / sharing;
  const uint32_t part = warp % sharing, first = part * records / sharing, count = (part + 1) * records / sharing - first;
  const uint32_t tile0 = block_x() * together + warp / sharing, stride = blocks_x() * together;
  const uint32_t tiles = a.part[a.parts - 1].end_tile;
  const uint32_t my_tiles = tile0 < tiles ? (tiles - tile0 + stride - 1) / stride : 0, total = my_tiles * count;
  const uint32_t rounds = block_x() * together < tiles ? (tiles - block_x() * together + stride - 1) / stride : 0;  // of the whole block

  Ring<kDepth> ring;
  ring.open(barriers[warp]);
  const auto fill = [&](uint32_t slot, uint32_t i) {
    const uint32_t record = first + i % count, left = subs - record * 8;
    uint32_t tile = tile0 + i / count * stride;
    const uint32_t which = part_of_tile(a, tile);
    const uint8_t* from = a.part[which].data + static_cast<uint64_t>(tile) * a.tile_bytes + static_cast<uint64_t>(record) * kRecord;
    ring.fill(slot, ring_memory + slot * kRecord, from, record_bytes(TYPE, left < 8 ? left : 8));
  };
  for (uint32_t i = 0; i < kDepth; ++i) {
    if (i < total) fill(i, i);
    else ring.skip();
  }
  begin_dependent();  // weights never change, so their copies may start before

  const uint32_t group = block_y();
  const Bytes16* q_from = reinterpret_cast<const Bytes16*>(a.q + static_cast<uint64_t>(group) * NC * a.cols);
  for (uint32_t i = thread_x(); i < subs * NC * 2; i += threads_x()) reinterpret_cast<Bytes16*>(q)[i] = q_from[i];
  const Floats4* scales_from = reinterpret_cast<const Floats4*>(a.scales) + static_cast<uint64_t>(group) * NC * subs;
  for (uint32_t i = thread_x(); i < subs * NC; i += threads_x()) scales[i] = scales_from[i];
  sync_block();

  uint32_t done = 0, slot = 0, phase = 0;
  for (uint32_t round = 0; round < rounds; ++round) {
    float sums[NC] = {};
    for (uint32_t i = 0; round < my_tiles && i < count; ++i) {
      const uint32_t record = first + i, left = subs - record * 8;
      ring.wait(slot, phase);
      dot_record<TYPE, NC>(ring_memory + slot * kRecord, left < 8 ? left : 8, lane % kTileRows, lane / kTileRows,
                           {q + record * 8 * NC * 32, scales + record * 8 * NC}, sums);
      sync_warp();
      if (done + kDepth < total) fill(slot, done + kDepth);
      else ring.skip();
      ++done;
      if (++slot == kDepth) {
        slot = 0;
        phase ^= 1U;
      }
    }
    KVASIR_UNROLL
    for (uint32_t c = 0; c < NC; ++c) {
      const float sum = sums[c] + shuffle_xor(sums[c], 16);
      if (lane < kTileRows) partial[round % 2][warp][lane][c] = sum;
    }
    sync_block();
    if (part == 0 && round < my_tiles) {
      uint32_t tile = tile0 + round * stride;
      const GemvPart& p = a.part[part_of_tile(a, tile)];
      const uint32_t row0 = tile * kTileRows;
      for (uint32_t i = lane; i < kTileRows * NC; i += kWarp) {
        const uint32_t r = i % kTileRows, c = i / kTileRows;
        float sum = 0.0F;
        for (uint32_t w = 0; w < sharing; ++w) sum += partial[round % 2][warp + w][r][c];
        if (row0 + r < p.rows) write_output(p.out, group * NC + c, row0 + r, sum);
      }
    }
  }
}

}  // namespace kvasir::cuda
