// Tensor-core products of 8-bit integers, by their fragments: lane 4 g + t holds of A the rows g and g + 8, of B the
// column g, of C the rows g and g + 8 in columns 2 t and 2 t + 1.
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
#endif

}  // namespace kvasir::cuda
