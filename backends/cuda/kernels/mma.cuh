// Tensor-core products of 8-bit integers and of halves, by their fragments: lane 4 g + t holds of A the rows g and g + 8,
// of B the column g, of C the rows g and g + 8 in columns 2 t and 2 t + 1.
#pragma once

#include "backends/cuda/kernels/simt.h"

namespace kvasir::cuda {

#if defined(__CUDACC__)
/// c += A[16 x 32] B[32 x 8]. A: row g k 4t.., row g+8 k 4t.., row g k 16+4t.., row g+8 k 16+4t..; B: k 4t.., k 16+4t...
KVASIR_DEVICE void mma_32(int (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
               : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/// c += A[16 x 16] B[16 x 8]. A: row g k 4t.., row g+8 k 4t..; B: k 4t...
KVASIR_DEVICE void mma_16(int (&c)[4], const uint32_t (&a)[2], uint32_t b) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0,%1,%2,%3},{%4,%5},{%6},{%0,%1,%2,%3};"
               : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(b));
}
/// c += A[16 x 16] B[16 x 8] of halves. A: row g k 2t.., row g+8 k 2t.., row g k 8+2t.., row g+8 k 8+2t..; B: k 2t.., k 8+2t...
KVASIR_DEVICE void mma_halves(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
/// Four 8 x 8 matrices of halves from shared memory: lane 8 i + r names row r of matrix i (16 bytes, aligned); out[i] is
/// rows 2 t and 2 t + 1 of matrix i in column g: half a B fragment where rows are k.
KVASIR_DEVICE void load_columns(uint32_t (&out)[4], const uint8_t* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3},[%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}
#else
/// The four lanes' words of a quad, of every lane in the warp.
inline void mma_part(int (&c)[4], uint32_t upper, uint32_t lower, uint32_t b) {
  const uint32_t lane = emulation::place.thread % 32, g = lane / 4, t = lane % 4;
  uint32_t rows[2][4], columns[2][4];
  const auto take = [](uint32_t word, uint32_t quad, uint32_t (&to)[4]) {
    const uint32_t* all = emulation::exchange(word);
    for (uint32_t i = 0; i < 4; ++i) to[i] = all[4 * quad + i];
  };
  take(upper, g, rows[0]);
  take(lower, g, rows[1]);
  take(b, 2 * t, columns[0]);
  take(b, 2 * t + 1, columns[1]);
  for (uint32_t i = 0; i < 4; ++i) {
    for (uint32_t q = 0; q < 4; ++q) c[i] = dot4(static_cast<int>(rows[i / 2][q]), static_cast<int>(columns[i % 2][q]), c[i]);
  }
}
inline void mma_32(int (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  mma_part(c, a[0], a[1], b[0]);
  mma_part(c, a[2], a[3], b[1]);
}
inline void mma_16(int (&c)[4], const uint32_t (&a)[2], uint32_t b) { mma_part(c, a[0], a[1], b); }
inline void mma_halves(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  const uint32_t lane = emulation::place.thread % 32, g = lane / 4, t = lane % 4;
  float rows[2][16], columns[2][16];
  const auto take = [](uint32_t word, uint32_t quad, float* to) {
    const uint32_t* all = emulation::exchange(word) + 4 * quad;
    for (uint32_t i = 0; i < 8; ++i) to[i] = half_value(static_cast<uint16_t>(all[i / 2] >> (16 * (i % 2))));
  };
  for (uint32_t i = 0; i < 4; ++i) take(a[i], g, rows[i % 2] + i / 2 * 8);
  for (uint32_t half = 0; half < 2; ++half) {
    const uint32_t* all = emulation::exchange(half == 0 ? b0 : b1);
    for (uint32_t i = 0; i < 16; ++i) columns[i / 8][half * 8 + i % 8] = half_value(static_cast<uint16_t>(all[4 * (2 * t + i / 8) + i % 8 / 2] >> (16 * (i % 2))));
  }
  for (uint32_t i = 0; i < 4; ++i) {
    for (uint32_t k = 0; k < 16; ++k) c[i] = fmaf(rows[i / 2][k], columns[i % 2][k], c[i]);
  }
}
inline void load_columns(uint32_t (&out)[4], const uint8_t* row) {
  const uint32_t lane = emulation::place.thread % 32, g = lane / 4, t = lane % 4;
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) std::abort();
  const uint32_t* rows = emulation::exchange(static_cast<uint32_t>(row - dynamic_shared()));
  const auto* halves = reinterpret_cast<const uint16_t*>(dynamic_shared());
  for (uint32_t i = 0; i < 4; ++i) {
    out[i] = halves[rows[8 * i + 2 * t] / 2 + g] | static_cast<uint32_t>(halves[rows[8 * i + 2 * t + 1] / 2 + g]) << 16U;
  }
}
#endif

}  // namespace kvasir::cuda
