// 16 floats in the compiler's generic vectors: runs on any machine, uses what the baseline offers. Multiply-add is two
// roundings here (the baseline has no FMA), so results differ from the other tables within the tolerances of the tests.
// Included by the scalar spine only, inside no namespace.
#pragma once

#include <cstdint>

#define KV_INLINE static inline __attribute__((always_inline))
#define KV_UNROLL _Pragma("GCC unroll 16")
#define KV_NO_UNROLL _Pragma("GCC unroll 1")

namespace kvasir::cpu::KVASIR_ISA {
namespace {

typedef float F __attribute__((vector_size(64)));
typedef int32_t I __attribute__((vector_size(64)));
typedef I M;

KV_INLINE F f_set(float x) { return x - F{}; }
KV_INLINE F f_zero() { return F{}; }
KV_INLINE F f_load(const float* p) {
  F v;
  __builtin_memcpy(&v, p, sizeof(v));
  return v;
}
KV_INLINE void f_store(float* p, F v) { __builtin_memcpy(p, &v, sizeof(v)); }
KV_INLINE F f_load_part(const float* p, uint32_t n) {
  float all[16] = {};
  for (uint32_t i = 0; i < n; ++i) all[i] = p[i];
  return f_load(all);
}
KV_INLINE void f_store_part(float* p, F v, uint32_t n) {
  for (uint32_t i = 0; i < n; ++i) p[i] = v[i];
}
KV_INLINE F f_add(F a, F b) { return a + b; }
KV_INLINE F f_sub(F a, F b) { return a - b; }
KV_INLINE F f_mul(F a, F b) { return a * b; }
KV_INLINE F f_div(F a, F b) { return a / b; }
KV_INLINE F f_fma(F a, F b, F c) { return a * b + c; }
KV_INLINE M f_less(F a, F b) { return a < b; }
KV_INLINE F f_select(M m, F yes, F no) {
  return reinterpret_cast<F>((m & reinterpret_cast<I>(yes)) | (~m & reinterpret_cast<I>(no)));
}
KV_INLINE M m_and(M a, M b) { return a & b; }
KV_INLINE F f_max(F a, F b) { return f_select(b < a, a, b); }
KV_INLINE F f_min(F a, F b) { return f_select(a < b, a, b); }
KV_INLINE F f_abs(F a) { return reinterpret_cast<F>(reinterpret_cast<I>(a) & 0x7FFFFFFF); }
KV_INLINE F f_swap_pairs(F a) {
  F out = a;
  for (uint32_t i = 0; i < 16; ++i) out[i] = a[i ^ 1U];
  return out;
}
KV_INLINE F f_iota() { return F{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}; }
/// Nearest, ties to even, for |a| < 2^22; what is larger (or NaN) becomes some integer.
KV_INLINE I f_round_i(F a) {
  const F magic = f_set(12582912.0F);
  return reinterpret_cast<I>(a + magic) - reinterpret_cast<I>(magic);
}
KV_INLINE F i_float(I a) { return __builtin_convertvector(a, F); }
/// 2^n for n in [-126, 127].
KV_INLINE F i_exp2(I n) { return reinterpret_cast<F>((n + 127) << 23); }
KV_INLINE I i_add(I a, I b) { return a + b; }
KV_INLINE void i_store_i8(int8_t* p, I v) {
  for (uint32_t i = 0; i < 16; ++i) p[i] = static_cast<int8_t>(v[i]);
}
KV_INLINE float half_to_float(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000U) << 16;
  const uint32_t magnitude = h & 0x7FFFU;
  uint32_t bits = 0;
  if (magnitude >= 0x7C00U) {
    bits = 0x7F800000U | ((magnitude & 0x3FFU) << 13);
  } else if (magnitude >= 0x400U) {
    bits = (magnitude << 13) + 0x38000000U;
  } else {
    const float value = static_cast<float>(magnitude) * 0x1p-24F;
    __builtin_memcpy(&bits, &value, 4);
  }
  bits |= sign;
  float out;
  __builtin_memcpy(&out, &bits, 4);
  return out;
}
/// Nearest, ties to even; too large becomes infinity.
KV_INLINE uint16_t float_to_half(float f) {
  uint32_t bits;
  __builtin_memcpy(&bits, &f, 4);
  const uint32_t sign = (bits >> 16) & 0x8000U;
  bits &= 0x7FFFFFFFU;
  if (bits > 0x7F800000U) return static_cast<uint16_t>(sign | 0x7E00U);
  if (bits >= 0x477FF000U) return static_cast<uint16_t>(sign | 0x7C00U);
  if (bits < 0x38800000U) {  // subnormal half: let the adder round at 2^-24
    float magnitude;
    __builtin_memcpy(&magnitude, &bits, 4);
    magnitude += 0.5F;
    uint32_t rounded;
    __builtin_memcpy(&rounded, &magnitude, 4);
    return static_cast<uint16_t>(sign | (rounded - 0x3F000000U));
  }
  const uint32_t odd = (bits >> 13) & 1U;
  return static_cast<uint16_t>(sign | ((bits - 0x38000000U + 0xFFFU + odd) >> 13));
}
KV_INLINE F f_load_f16(const uint16_t* p) {
  F v{};
  for (uint32_t i = 0; i < 16; ++i) v[i] = half_to_float(p[i]);
  return v;
}
KV_INLINE void f_store_f16(uint16_t* p, F v) {
  for (uint32_t i = 0; i < 16; ++i) p[i] = float_to_half(v[i]);
}
KV_INLINE F f_load_i8(const int8_t* p) {
  F v{};
  for (uint32_t i = 0; i < 16; ++i) v[i] = static_cast<float>(p[i]);
  return v;
}
/// Sums in one fixed tree: halves of 8, 4, 2, 1. The same in every instruction set.
KV_INLINE float f_sum(F v) {
  for (uint32_t half = 8; half > 0; half /= 2) {
    for (uint32_t i = 0; i < half; ++i) v[i] += v[i + half];
  }
  return v[0];
}
KV_INLINE float f_largest(F v) {
  float best = v[0];
  for (uint32_t i = 1; i < 16; ++i) best = best < v[i] ? v[i] : best;
  return best;
}
KV_INLINE int32_t i_sum(I v) {
  int32_t sum = 0;
  for (uint32_t i = 0; i < 16; ++i) sum += v[i];
  return sum;
}

// ---- native lanes of the GEMM: 16 rows

constexpr uint32_t kLanes = 16;
constexpr uint32_t kTileColumns = 4;
constexpr int kColumnsAtOnce = 1;
constexpr uint32_t kTileQueries = 2;
constexpr bool kSignedDot8 = false;
typedef F LF;
typedef I LI;
typedef uint8_t LQ __attribute__((vector_size(64)));

KV_INLINE LF lf_zero() { return LF{}; }
KV_INLINE LF lf_set(float x) { return f_set(x); }
KV_INLINE LF lf_load(const float* p) { return f_load(p); }
KV_INLINE void lf_store(float* p, LF v) { f_store(p, v); }
KV_INLINE LF lf_add(LF a, LF b) { return a + b; }
KV_INLINE LF lf_mul(LF a, LF b) { return a * b; }
KV_INLINE LF lf_neg(LF a) { return -a; }
KV_INLINE LF lf_fma(LF a, LF b, LF c) { return a * b + c; }
KV_INLINE LF lf_from_i(LI a) { return i_float(a); }
/// a * 2^p, `power` being p << 23; 0 becomes 2^(p - 127).
KV_INLINE LF lf_raise(LF a, int32_t power) { return reinterpret_cast<LF>(reinterpret_cast<LI>(a) + power); }
KV_INLINE LF lf_load_f16(const void* p) {
  uint16_t h[16];
  __builtin_memcpy(h, p, sizeof(h));
  return f_load_f16(h);
}
KV_INLINE LF lf_load_u8(const uint8_t* p) {
  LF v{};
  for (uint32_t i = 0; i < 16; ++i) v[i] = static_cast<float>(p[i]);
  return v;
}
KV_INLINE LF lf_load_i8(const uint8_t* p) { return f_load_i8(reinterpret_cast<const int8_t*>(p)); }
/// 2^(e - 128) for each of 16 exponent bytes: half of the E8M0 scale, subnormal for 0 and 1.
KV_INLINE LF lf_load_e8m0_half(const uint8_t* p) {
  I bits{};
  for (uint32_t i = 0; i < 16; ++i) bits[i] = p[i] == 0 ? 0x00400000 : static_cast<int32_t>(p[i]) << 23;
  return reinterpret_cast<F>(bits) * 0.5F;
}
/// Bits shift..shift+3 of 16 bytes.
KV_INLINE LF lf_nibble(const uint8_t* p, int shift) {
  LF v{};
  for (uint32_t i = 0; i < 16; ++i) v[i] = static_cast<float>((p[i] >> shift) & 15);
  return v;
}
KV_INLINE void lf_load_bf16_pair(const void* p, LF& even, LF& odd) {
  typedef uint32_t U __attribute__((vector_size(64)));
  U v;
  __builtin_memcpy(&v, p, sizeof(v));
  even = reinterpret_cast<LF>(v << 16);
  odd = reinterpret_cast<LF>(v & 0xFFFF0000U);
}
KV_INLINE LI li_zero() { return LI{}; }
KV_INLINE LI li_set(int32_t x) { return x - LI{}; }
KV_INLINE LI li_left(LI a, int n) { return a << n; }
/// Byte `byte` of every 32-bit lane, less `zero`.
KV_INLINE LI li_byte(LQ q, int byte, int32_t zero) { return ((reinterpret_cast<LI>(q) >> (8 * byte)) & 255) - zero; }
KV_INLINE LQ lq_load(const uint8_t* p) {
  LQ v;
  __builtin_memcpy(&v, p, sizeof(v));
  return v;
}
KV_INLINE void lq_store(uint8_t* p, LQ v) { __builtin_memcpy(p, &v, sizeof(v)); }
KV_INLINE LQ lq_set(uint8_t x) { return x - LQ{}; }
KV_INLINE LQ lq_table(const uint8_t* p) {
  LQ v{};
  for (uint32_t i = 0; i < 64; ++i) v[i] = p[i % 16];
  return v;
}
KV_INLINE LQ lq_lookup(LQ table, LQ index) {
  LQ v{};
  for (uint32_t i = 0; i < 64; ++i) v[i] = table[index[i]];
  return v;
}
KV_INLINE LQ lq_and(LQ a, LQ b) { return a & b; }
KV_INLINE LQ lq_or_and(LQ a, LQ b, LQ c) { return a | (b & c); }
KV_INLINE LQ lq_right(LQ a, unsigned n) { return a >> static_cast<uint8_t>(n); }
KV_INLINE LQ lq_left(LQ a, unsigned n) { return a << static_cast<uint8_t>(n); }
/// 16 pairs of groups of 4 bytes: the first and the second groups.
KV_INLINE void lq_split(const uint64_t* pairs, LQ& first, LQ& second) {
  uint32_t groups[2][16];
  for (uint32_t i = 0; i < 16; ++i) {
    groups[0][i] = static_cast<uint32_t>(pairs[i]);
    groups[1][i] = static_cast<uint32_t>(pairs[i] >> 32U);
  }
  __builtin_memcpy(&first, groups[0], sizeof(first));
  __builtin_memcpy(&second, groups[1], sizeof(second));
}
/// Lanes of four times 7 sign bits as four bytes: the eighth sign makes the number of set ones even.
KV_INLINE LQ lq_even_signs(LQ x) {
  for (uint32_t lane = 0; lane < 16; ++lane) {
    uint32_t signs;
    __builtin_memcpy(&signs, reinterpret_cast<const uint8_t*>(&x) + 4 * lane, 4);
    for (uint32_t l = 0; l < 4; ++l) {
      const uint32_t seven = signs >> (7 * l) & 127U;
      x[4 * lane + l] = static_cast<uint8_t>(seven | (__builtin_parity(seven) != 0 ? 128U : 0U));
    }
  }
  return x;
}
/// Bytes of vector `V` (of 8: bits 4 V to 4 V + 3 of each lane of `signs`) become zero - level where their bit is set.
template <uint32_t V>
KV_INLINE void lq_negate(LQ& q, LQ signs, LQ twice_zero) {
  for (uint32_t i = 0; i < 64; ++i) {
    if ((signs[i / 4 * 4 + V / 2] >> (4 * (V % 2) + i % 4) & 1U) != 0) q[i] = static_cast<uint8_t>(twice_zero[i] - q[i]);
  }
}
/// Bytes that are base-3 fractions: the first digit, floor(3 x / 256), and 3 x modulo 256, which begins with the next.
KV_INLINE LQ lq_first_digit(LQ x) {
  LQ digit{};
  for (uint32_t i = 0; i < 64; ++i) digit[i] = static_cast<uint8_t>(3U * x[i] >> 8U);
  return digit;
}
KV_INLINE LQ lq_times_3(LQ x) { return x + x + x; }

/// Four rows of 64 bytes side by side, as 4 x [16][4] bytes `stride` apart, +128.
KV_INLINE void interleave_page(const uint8_t* rows, uint8_t* to, uint64_t stride) {
  for (uint32_t i = 0; i < 64; ++i) {
    for (uint32_t j = 0; j < 4; ++j) to[i / 16 * stride + 4 * (i % 16) + j] = rows[64 * j + i] ^ 128U;
  }
}

/// s + sum over `Vectors` groups of 4 k of q * a. a: [Vectors][columns][4].
template <int Bits, int Vectors>
KV_INLINE LI lq_dot_block(LI s, const LQ* q, const int8_t* a, uint32_t column_bytes) {
  static_assert(Bits <= 8);
  for (int j = 0; j < Vectors; ++j) {
    const int8_t* four = a + static_cast<uint32_t>(j) * column_bytes;
    const LI lanes = reinterpret_cast<LI>(q[j]);
    for (int i = 0; i < 4; ++i) s += ((lanes >> (8 * i)) & 255) * static_cast<int32_t>(four[i]);
  }
  return s;
}

}  // namespace
}  // namespace kvasir::cpu::KVASIR_ISA
