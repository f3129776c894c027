// The largest values of each row, so that a whole row of logits need not leave the device: first of each piece of a row,
// then of what the pieces gave. Order as Stream::best() has it: larger first, NaN before all, lower column among equals.
#pragma once

#include "backends/cuda/kernels/args.h"
#include "backends/cuda/kernels/simt.h"

namespace kvasir::cuda {

constexpr uint32_t kBestThreads = 256;
constexpr uint32_t kBestPiece = 4096;  ///< columns; their keys lie in shared memory

/// Larger keys come first; 0 is no value at all.
KVASIR_DEVICE uint64_t key_of(float v, uint32_t column) {
  const uint32_t bits = as_bits(v + 0.0F);  // -0 becomes 0: they are equal
  const uint32_t ordered = v != v ? 0xFFFFFFFFU : (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
  return static_cast<uint64_t>(ordered) << 32U | static_cast<uint32_t>(~column);
}
KVASIR_DEVICE uint32_t column_of(uint64_t key) { return ~static_cast<uint32_t>(key); }

KVASIR_DEVICE uint64_t warp_largest(uint64_t key) {
  KVASIR_UNROLL
  for (int mask = 16; mask > 0; mask >>= 1) {
    const uint32_t high = shuffle_xor(static_cast<uint32_t>(key >> 32U), mask), low = shuffle_xor(static_cast<uint32_t>(key), mask);
    const uint64_t other = static_cast<uint64_t>(high) << 32U | low;
    key = other > key ? other : key;
  }
  return key;
}

/// The `count` largest of `n` keys, in order, to emit(i, key) on one thread; keys that were taken become 0. Thread t owns
/// keys t, t + threads, ...; `scratch` holds a key per warp.
template <class Emit>
KVASIR_DEVICE void take_best(uint64_t* keys, uint32_t n, uint32_t count, uint64_t* scratch, Emit emit) {
  uint64_t mine = 0;
  const auto rescan = [&] {
    mine = 0;
    for (uint32_t i = thread_x(); i < n; i += kBestThreads) mine = keys[i] > mine ? keys[i] : mine;
  };
  rescan();
  for (uint32_t taken = 0; taken < count; ++taken) {
    const uint64_t warps = warp_largest(mine);
    if (lane_id() == 0) scratch[warp_id()] = warps;
    sync_block();
    uint64_t best = scratch[0];
    for (uint32_t w = 1; w < kBestThreads / kWarp; ++w) best = scratch[w] > best ? scratch[w] : best;
    sync_block();  // before the scratch is written again
    if (thread_x() == 0) emit(taken, best);
    if (best == 0 || mine != best) continue;  // keys differ, so one thread has it
    for (uint32_t i = thread_x(); i < n; i += kBestThreads) {
      if (keys[i] == best) keys[i] = 0;
    }
    rescan();
  }
}

/// Grid: (pieces, rows).
KVASIR_KERNEL(kBestThreads, 4) best_pieces_kernel(KVASIR_ARGS(BestArgs) a) {
  KVASIR_SHARED uint64_t keys[kBestPiece];
  KVASIR_SHARED uint64_t scratch[kBestThreads / kWarp];
  begin_dependent();
  const uint32_t first = block_x() * kBestPiece, left = a.x.cols - first, n = left < kBestPiece ? left : kBestPiece;
  const float* x = a.x.data + block_y() * a.x.stride + first;
  for (uint32_t i = thread_x(); i < n; i += kBestThreads) keys[i] = key_of(x[i], first + i);
  uint64_t* to = a.pieces + (static_cast<uint64_t>(block_y()) * a.piece_count + block_x()) * a.count;
  take_best(keys, n, a.count, scratch, [&](uint32_t i, uint64_t key) { to[i] = key; });
}

/// Grid: (rows).
KVASIR_KERNEL(kBestThreads, 4) best_merge_kernel(KVASIR_ARGS(BestArgs) a) {
  KVASIR_SHARED uint64_t scratch[kBestThreads / kWarp];
  begin_dependent();
  const uint32_t row = block_x(), n = a.piece_count * a.count;
  const float* x = a.x.data + row * a.x.stride;
  BestValue* to = a.out + static_cast<uint64_t>(row) * a.count;
  take_best(a.pieces + static_cast<uint64_t>(row) * n, n, a.count, scratch, [&](uint32_t i, uint64_t key) {
    to[i].logit = x[column_of(key)];
    to[i].id = column_of(key);
  });
}

}  // namespace kvasir::cuda
