// One lane's part of a record of 16 rows x 256 k times 8-bit activations: lane l has row l % 16 and every other sub-block
// of 32 k, beginning with l / 16. Integer sums are exact; they become floats by an accumulator that starts at the bits of
// 1.5 * 2^23, whose low bits then are the sum. Scales likewise by one explicit fma, which is exact.
#pragma once

#include "backends/cuda/kernels/decode.cuh"
#include "backends/cuda/kernels/simt.h"

namespace kvasir::cuda {

constexpr int kMagicBits = 0x4B400000;
constexpr float kMagic = 12582912.0F;       // 1.5 * 2^23
constexpr float kTwo23 = 8388608.0F;

/// Scale, scale * sum, and the integer sums of both halves of a sub-block's activations.
struct ActivationScale {
  float scale, scaled_sum;
  int low_sum, high_sum;
};

/// Activations of the record's sub-blocks: [sub-block][NC][32 bytes] and their scales [sub-block][NC].
struct ActivationPart {
  const int8_t* q;
  const Floats4* scales;
};

template <uint32_t NC>
KVASIR_DEVICE ActivationScale scale_of(const ActivationPart& x, uint32_t j, uint32_t c) {
  const Floats4 f = x.scales[j * NC + c];
  return {f.x, f.y, static_cast<int>(as_bits(f.z)), static_cast<int>(as_bits(f.w))};
}
template <uint32_t NC>
KVASIR_DEVICE void activations_of(const ActivationPart& x, uint32_t j, uint32_t c, int (&q)[8]) {
  const Bytes16* at = reinterpret_cast<const Bytes16*>(x.q + (j * NC + c) * 32);
  const Bytes16 a = at[0], b = at[1];
  q[0] = static_cast<int>(a.x), q[1] = static_cast<int>(a.y), q[2] = static_cast<int>(a.z), q[3] = static_cast<int>(a.w);
  q[4] = static_cast<int>(b.x), q[5] = static_cast<int>(b.y), q[6] = static_cast<int>(b.z), q[7] = static_cast<int>(b.w);
}

KVASIR_DEVICE float magic_float(int sum) { return as_float(static_cast<uint32_t>(sum)) - kMagic; }
/// (small unsigned) * d, exact.
KVASIR_DEVICE float times(uint32_t small, float d) { return fmaf(as_float(0x4B000000U | small), d, -kTwo23 * d); }

/// 32 nibbles of a row as eight words of four bytes.
KVASIR_DEVICE void nibble_bytes(const Bytes16& v, int (&w)[8]) {
  const uint32_t words[4] = {v.x, v.y, v.z, v.w};
  KVASIR_UNROLL
  for (int i = 0; i < 4; ++i) {
    w[2 * i] = static_cast<int>(words[i] & 0x0F0F0F0FU);
    w[2 * i + 1] = static_cast<int>(words[i] >> 4U & 0x0F0F0F0FU);
  }
}
KVASIR_DEVICE const Bytes16& row_bytes16(const uint8_t* rec, uint32_t part, uint32_t r) { return *reinterpret_cast<const Bytes16*>(rec + part * 256 + r * 16); }
KVASIR_DEVICE float half_in(const uint8_t* at) { return half_value(*reinterpret_cast<const uint16_t*>(at)); }

template <uint32_t NC>
KVASIR_DEVICE void dot_q4_k(const uint8_t* rec, uint32_t r, uint32_t parity, bool five, const ActivationPart& x, float (&sums)[NC]) {
  const Bytes16 s = row_bytes16(rec, 8, r);
  const float d = half_value(static_cast<uint16_t>(s.x & 0xFFFFU)), m = half_value(static_cast<uint16_t>(s.x >> 16U));
  const uint32_t low = parity != 0 ? s.z : s.y, high = parity != 0 ? s.w >> 16U : s.w & 0xFFFFU;
  const uint64_t field = low | static_cast<uint64_t>(high) << 32U;
  KVASIR_UNROLL
  for (uint32_t i = 0; i < 4; ++i) {
    const uint32_t j = 2 * i + parity, pair = static_cast<uint32_t>(field >> (12 * i));
    const float scale = times(pair & 63U, d), minimum = times(pair >> 6U & 63U, m);
    int w[8];
    nibble_bytes(row_bytes16(rec, j, r), w);
    if (five) {
      const uint32_t h = *reinterpret_cast<const uint32_t*>(rec + 2304 + j * 64 + r * 4);
      KVASIR_UNROLL
      for (int g = 0; g < 8; ++g) w[g] |= static_cast<int>((g <= 4 ? h << (4 - g) : h >> (g - 4)) & 0x10101010U);
    }
    KVASIR_UNROLL
    for (uint32_t c = 0; c < NC; ++c) {
      const ActivationScale a = scale_of<NC>(x, j, c);
      int q[8], sum = kMagicBits;
      activations_of<NC>(x, j, c, q);
      KVASIR_UNROLL
      for (int k = 0; k < 8; ++k) sum = dot4(w[k], q[k], sum);
      sums[c] = fmaf(scale, magic_float(sum) * a.scale, sums[c]);
      sums[c] = fmaf(-minimum, a.scaled_sum, sums[c]);
    }
  }
}

template <uint32_t NC>
KVASIR_DEVICE void dot_q6_k(const uint8_t* rec, uint32_t r, uint32_t parity, const ActivationPart& x, float (&sums)[NC]) {
  const int8_t* scales = reinterpret_cast<const int8_t*>(rec + 3072 + r * 16);
  const float d = half_in(rec + 3328 + 2 * r);
  KVASIR_UNROLL
  for (uint32_t i = 0; i < 4; ++i) {
    const uint32_t j = 2 * i + parity;
    const uint32_t* high = reinterpret_cast<const uint32_t*>(rec + 2048 + i * 256 + r * 16 + parity * 8);
    const float low_scale = static_cast<float>(scales[2 * j]) * d, high_scale = static_cast<float>(scales[2 * j + 1]) * d;
    int w[8];
    nibble_bytes(row_bytes16(rec, j, r), w);
    KVASIR_UNROLL
    for (int g = 0; g < 8; ++g) {
      const uint32_t h = high[g / 4];
      w[g] |= static_cast<int>((g % 4 <= 2 ? h << (4 - 2 * (g % 4)) : h >> 2U) & 0x30303030U);
    }
    KVASIR_UNROLL
    for (uint32_t c = 0; c < NC; ++c) {
      const ActivationScale a = scale_of<NC>(x, j, c);
      int q[8], low = kMagicBits - 32 * a.low_sum, top = kMagicBits - 32 * a.high_sum;
      activations_of<NC>(x, j, c, q);
      KVASIR_UNROLL
      for (int k = 0; k < 4; ++k) {
        low = dot4(w[k], q[k], low);
        top = dot4(w[k + 4], q[k + 4], top);
      }
      sums[c] = fmaf(low_scale, magic_float(low) * a.scale, sums[c]);
      sums[c] = fmaf(high_scale, magic_float(top) * a.scale, sums[c]);
    }
  }
}

/// Q4_0, Q4_1 and Q8_0: blocks of 32, `subs` of them in this record.
template <Stored TYPE, uint32_t NC>
KVASIR_DEVICE void dot_blocks_of_32(const uint8_t* rec, uint32_t subs, uint32_t r, uint32_t parity, const ActivationPart& x, float (&sums)[NC]) {
  KVASIR_UNROLL
  for (uint32_t i = 0; i < 4; ++i) {
    const uint32_t j = 2 * i + parity;
    if (j >= subs) continue;
    int w[8];
    float d, m = 0.0F;
    if constexpr (TYPE == Stored::kT16Q8_0) {
      const Bytes16 a = row_bytes16(rec, 2 * j, r), b = row_bytes16(rec, 2 * j + 1, r);
      const uint32_t words[8] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
      KVASIR_UNROLL
      for (int k = 0; k < 8; ++k) w[k] = static_cast<int>(words[k]);
      d = half_in(rec + subs * 512 + j * 32 + r * 2);
    } else {
      nibble_bytes(row_bytes16(rec, j, r), w);
      const uint8_t* scale = rec + subs * 256 + (TYPE == Stored::kT16Q4_1 ? j * 64 + r * 4 : j * 32 + r * 2);
      d = half_in(scale);
      if constexpr (TYPE == Stored::kT16Q4_1) m = half_in(scale + 2);
    }
    KVASIR_UNROLL
    for (uint32_t c = 0; c < NC; ++c) {
      const ActivationScale a = scale_of<NC>(x, j, c);
      int q[8], sum = TYPE == Stored::kT16Q4_0 ? kMagicBits - 8 * (a.low_sum + a.high_sum) : kMagicBits;
      activations_of<NC>(x, j, c, q);
      KVASIR_UNROLL
      for (int k = 0; k < 8; ++k) sum = dot4(w[k], q[k], sum);
      sums[c] = fmaf(d, magic_float(sum) * a.scale, sums[c]);
      if constexpr (TYPE == Stored::kT16Q4_1) sums[c] = fmaf(m, a.scaled_sum, sums[c]);
    }
  }
}

template <Stored TYPE, uint32_t NC>
KVASIR_DEVICE void dot_record(const uint8_t* rec, uint32_t subs, uint32_t r, uint32_t parity, const ActivationPart& x, float (&sums)[NC]) {
  if constexpr (TYPE == Stored::kT16Q4_K) dot_q4_k<NC>(rec, r, parity, false, x, sums);
  else if constexpr (TYPE == Stored::kT16Q5_K) dot_q4_k<NC>(rec, r, parity, true, x, sums);
  else if constexpr (TYPE == Stored::kT16Q6_K) dot_q6_k<NC>(rec, r, parity, x, sums);
  else dot_blocks_of_32<TYPE, NC>(rec, subs, r, parity, x, sums);
}

}  // namespace kvasir::cuda
