// T16 weights as fragments of integer tensor cores, and a sub-block's product with eight columns of 8-bit activations:
// what gemm.cuh and expert_gemm.cuh share. Lane 4 g + t.
#pragma once

#include "backends/cuda/kernels/args.h"
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

}  // namespace kvasir::cuda
