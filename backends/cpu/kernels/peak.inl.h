// What the units of this instruction set can do at most: the inner loops of the GEMMs without scales, weights' unpacking
// or memory beyond L1. `kvasir bench` prints how near a model comes.
#pragma once

namespace kvasir::cpu::KVASIR_ISA {
namespace {

/// Operations done (a multiply-add counts two): 32 values of 16 rows times a tile, from L1, as lq_dot_block does for 4 bits.
uint64_t peak_int8(uint32_t rounds) {
  constexpr uint32_t kColumns = kTileColumns;
  alignas(64) uint8_t weights[8 * 4 * kLanes] = {};
  alignas(64) int8_t rows[32 * kColumns] = {};
  LI sums[kColumns];
  KV_UNROLL
  for (uint32_t c = 0; c < kColumns; ++c) sums[c] = li_zero();
  KV_NO_UNROLL
  for (uint32_t i = 0; i < rounds; ++i) {
    __asm__ volatile("" : : "r"(weights), "r"(rows) : "memory");
    LQ q[8];
    KV_UNROLL
    for (uint32_t v = 0; v < 8; ++v) q[v] = lq_load(weights + 4 * kLanes * v);
    KV_UNROLL
    for (uint32_t c = 0; c < kColumns; ++c) sums[c] = lq_dot_block<4, 8>(sums[c], q, rows + 4 * c, 4 * kColumns);
  }
  alignas(64) int32_t out[kLanes];
  KV_UNROLL
  for (uint32_t c = 0; c < kColumns; ++c) {
    __builtin_memcpy(out, &sums[c], sizeof(out));
    __asm__ volatile("" : : "r"(out) : "memory");
  }
  return uint64_t{rounds} * 2 * 32 * kLanes * kColumns;
}

uint64_t peak_f32(uint32_t rounds) {
  constexpr uint32_t kColumns = 12;
  LF sums[kColumns];
  KV_UNROLL
  for (uint32_t c = 0; c < kColumns; ++c) sums[c] = lf_zero();
  const LF half = lf_set(0.5F);
  KV_NO_UNROLL
  for (uint32_t i = 0; i < rounds; ++i) {
    KV_UNROLL
    for (uint32_t c = 0; c < kColumns; ++c) sums[c] = lf_fma(sums[c], half, half);
  }
  alignas(64) float out[kLanes];
  KV_UNROLL
  for (uint32_t c = 0; c < kColumns; ++c) {
    lf_store(out, sums[c]);
    __asm__ volatile("" : : "r"(out) : "memory");
  }
  return uint64_t{rounds} * 2 * kLanes * kColumns;
}

}  // namespace
}  // namespace kvasir::cpu::KVASIR_ISA
