// 16 floats in one zmm. `F`, `I`, `M` are the 16-lane types of all row and attention kernels; `LF`, `LI`, `LQ` the
// native lanes of the GEMM (here the same). Included by AVX-512 spines only, inside no namespace.
#pragma once

#include <immintrin.h>

#include <cstdint>

#define KV_INLINE static inline __attribute__((always_inline))
#define KV_UNROLL _Pragma("GCC unroll 16")
#define KV_NO_UNROLL _Pragma("GCC unroll 1")

namespace kvasir::cpu::KVASIR_ISA {
namespace {

using F = __m512;
using I = __m512i;
using M = __mmask16;

KV_INLINE F f_zero() { return _mm512_setzero_ps(); }
KV_INLINE F f_set(float x) { return _mm512_set1_ps(x); }
KV_INLINE F f_load(const float* p) { return _mm512_loadu_ps(p); }
KV_INLINE void f_store(float* p, F v) { _mm512_storeu_ps(p, v); }
KV_INLINE M m_first(uint32_t n) { return static_cast<M>(n >= 16 ? 0xFFFFU : (1U << n) - 1U); }
KV_INLINE F f_load_part(const float* p, uint32_t n) { return _mm512_maskz_loadu_ps(m_first(n), p); }
KV_INLINE void f_store_part(float* p, F v, uint32_t n) { _mm512_mask_storeu_ps(p, m_first(n), v); }
KV_INLINE F f_add(F a, F b) { return _mm512_add_ps(a, b); }
KV_INLINE F f_sub(F a, F b) { return _mm512_sub_ps(a, b); }
KV_INLINE F f_mul(F a, F b) { return _mm512_mul_ps(a, b); }
KV_INLINE F f_div(F a, F b) { return _mm512_div_ps(a, b); }
KV_INLINE F f_fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
KV_INLINE F f_max(F a, F b) { return _mm512_max_ps(a, b); }
KV_INLINE F f_min(F a, F b) { return _mm512_min_ps(a, b); }
KV_INLINE F f_abs(F a) { return _mm512_abs_ps(a); }
KV_INLINE M f_less(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
KV_INLINE F f_select(M m, F yes, F no) { return _mm512_mask_blend_ps(m, no, yes); }
KV_INLINE M m_and(M a, M b) { return static_cast<M>(a & b); }
KV_INLINE F f_swap_pairs(F a) { return _mm512_permute_ps(a, 0xB1); }
KV_INLINE F f_iota() { return _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }
KV_INLINE I f_round_i(F a) { return _mm512_cvtps_epi32(a); }
KV_INLINE F i_float(I a) { return _mm512_cvtepi32_ps(a); }
/// 2^n for n in [-126, 127].
KV_INLINE F i_exp2(I n) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(n, _mm512_set1_epi32(127)), 23));
}
KV_INLINE I i_add(I a, I b) { return _mm512_add_epi32(a, b); }
KV_INLINE void i_store_i8(int8_t* p, I v) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(v)); }
KV_INLINE F f_load_f16(const uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
KV_INLINE void f_store_f16(uint16_t* p, F v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
KV_INLINE F f_load_i8(const int8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}

/// Sums in one fixed tree: halves of 8, 4, 2, 1. The same in every instruction set.
KV_INLINE float f_sum(F v) {
  const __m256 a = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  b = _mm_add_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}
KV_INLINE float f_largest(F v) {
  const __m256 a = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  b = _mm_max_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_max_ss(b, _mm_movehdup_ps(b)));
}
KV_INLINE int32_t i_sum(I v) { return _mm512_reduce_add_epi32(v); }

// ---- native lanes of the GEMM: 16 rows

constexpr uint32_t kLanes = 16;
constexpr uint32_t kTileColumns = 12;   // GEMM tile
constexpr int kColumnsAtOnce = 4;
constexpr uint32_t kTileQueries = 6;    // attention tile
using LF = __m512;
using LI = __m512i;
using LQ = __m512i;

KV_INLINE LF lf_zero() { return _mm512_setzero_ps(); }
KV_INLINE LF lf_set(float x) { return _mm512_set1_ps(x); }
KV_INLINE LF lf_load(const float* p) { return _mm512_loadu_ps(p); }
KV_INLINE void lf_store(float* p, LF v) { _mm512_storeu_ps(p, v); }
KV_INLINE LF lf_add(LF a, LF b) { return _mm512_add_ps(a, b); }
KV_INLINE LF lf_mul(LF a, LF b) { return _mm512_mul_ps(a, b); }
KV_INLINE LF lf_neg(LF a) { return _mm512_xor_ps(a, _mm512_set1_ps(-0.0F)); }
KV_INLINE LF lf_fma(LF a, LF b, LF c) { return _mm512_fmadd_ps(a, b, c); }
KV_INLINE LF lf_from_i(LI a) { return _mm512_cvtepi32_ps(a); }
/// a * 2^p, `power` being p << 23; 0 becomes 2^(p - 127).
KV_INLINE LF lf_raise(LF a, int32_t power) {
  return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a), _mm512_set1_epi32(power)));
}
KV_INLINE LF lf_load_f16(const void* p) { return _mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p))); }
KV_INLINE LF lf_load_u8(const uint8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
KV_INLINE LF lf_load_i8(const uint8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
/// 2^(e - 128) for each of 16 exponent bytes: half of the E8M0 scale, subnormal for 0 and 1.
KV_INLINE LF lf_load_e8m0_half(const uint8_t* p) {
  const __m512i e = _mm512_slli_epi32(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))), 23);
  return _mm512_mul_ps(_mm512_castsi512_ps(_mm512_max_epi32(e, _mm512_set1_epi32(0x00400000))), _mm512_set1_ps(0.5F));
}
/// Bits shift..shift+3 of 16 bytes.
KV_INLINE LF lf_nibble(const uint8_t* p, int shift) {
  const __m512i b = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32(b, static_cast<unsigned>(shift)), _mm512_set1_epi32(15)));
}
/// [16 rows][2] bf16 as the even and the odd values, exactly.
KV_INLINE void lf_load_bf16_pair(const void* p, LF& even, LF& odd) {
  const __m512i v = _mm512_loadu_si512(p);
  even = _mm512_castsi512_ps(_mm512_slli_epi32(v, 16));
  odd = _mm512_castsi512_ps(_mm512_and_si512(v, _mm512_set1_epi32(static_cast<int>(0xFFFF0000U))));
}
KV_INLINE LI li_zero() { return _mm512_setzero_si512(); }
KV_INLINE LI li_set(int32_t x) { return _mm512_set1_epi32(x); }
KV_INLINE LI li_left(LI a, unsigned n) { return _mm512_slli_epi32(a, n); }
/// Byte `byte` of every 32-bit lane, less `zero`.
KV_INLINE LI li_byte(LQ q, int byte, int32_t zero) {
  const LI b = _mm512_and_si512(_mm512_srli_epi32(q, static_cast<unsigned>(8 * byte)), _mm512_set1_epi32(255));
  return _mm512_sub_epi32(b, _mm512_set1_epi32(zero));
}
KV_INLINE LQ lq_load(const uint8_t* p) { return _mm512_loadu_si512(p); }
KV_INLINE void lq_store(uint8_t* p, LQ v) { _mm512_storeu_si512(p, v); }
KV_INLINE LQ lq_set(uint8_t x) { return _mm512_set1_epi8(static_cast<char>(x)); }
KV_INLINE LQ lq_table(const uint8_t* p) {
  return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
KV_INLINE LQ lq_lookup(LQ table, LQ index) { return _mm512_shuffle_epi8(table, index); }
KV_INLINE LQ lq_and(LQ a, LQ b) { return _mm512_and_si512(a, b); }
/// a | (b & c)
KV_INLINE LQ lq_or_and(LQ a, LQ b, LQ c) { return _mm512_ternarylogic_epi32(a, b, c, 0xF8); }
/// Shifts in 16-bit units: bits cross into the neighbour byte, so the result must be masked.
KV_INLINE LQ lq_right(LQ a, unsigned n) { return _mm512_srli_epi16(a, n); }
KV_INLINE LQ lq_left(LQ a, unsigned n) { return _mm512_slli_epi16(a, n); }
/// 16 pairs of groups of 4 bytes: the first and the second groups.
KV_INLINE void lq_split(const uint64_t* pairs, LQ& first, LQ& second) {
  const LQ a = _mm512_load_si512(pairs);
  const LQ b = _mm512_load_si512(pairs + 8);
  const LQ even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  first = _mm512_permutex2var_epi32(a, even, b);
  second = _mm512_permutex2var_epi32(a, _mm512_or_si512(even, _mm512_set1_epi32(1)), b);
}
/// Lanes of four times 7 sign bits as four bytes: the eighth sign makes the number of set ones even.
KV_INLINE LQ lq_even_signs(LQ x) {
  const auto field = [x](int mask, unsigned n) __attribute__((always_inline)) { return _mm512_slli_epi32(_mm512_and_si512(x, _mm512_set1_epi32(mask)), n); };
  const LQ seven = _mm512_or_si512(_mm512_or_si512(field(0x7F, 0), field(0x3F80, 1)), _mm512_or_si512(field(0x1FC000, 2), field(0xFE00000, 3)));
  LQ odd = _mm512_xor_si512(seven, _mm512_and_si512(_mm512_srli_epi32(seven, 4), _mm512_set1_epi8(15)));
  odd = _mm512_xor_si512(odd, _mm512_srli_epi32(odd, 2));
  odd = _mm512_xor_si512(odd, _mm512_srli_epi32(odd, 1));
  return lq_or_and(seven, _mm512_slli_epi32(odd, 7), _mm512_set1_epi8(-128));
}
/// Bytes of vector `V` (of 8: bits 4 V to 4 V + 3 of each lane of `signs`) become zero - level where their bit is set.
template <int V>
KV_INLINE void lq_negate(LQ& q, LQ signs, LQ twice_zero) {
  const LQ bytes = _mm512_shuffle_epi8(signs, _mm512_set4_epi32(0x0C0C0C0C + V / 2 * 0x01010101, 0x08080808 + V / 2 * 0x01010101,
                                                                0x04040404 + V / 2 * 0x01010101, V / 2 * 0x01010101));
  const __mmask64 set = _mm512_test_epi8_mask(bytes, _mm512_set1_epi32(V % 2 == 0 ? 0x08040201 : static_cast<int>(0x80402010U)));
  q = _mm512_mask_sub_epi8(q, set, twice_zero, q);
}
/// Bytes that are base-3 fractions: the first digit, floor(3 x / 256), and 3 x modulo 256, which begins with the next.
KV_INLINE LQ lq_first_digit(LQ x) {
  const LQ one = _mm512_set1_epi8(1);
  const LQ digit = _mm512_maskz_mov_epi8(_mm512_cmpge_epu8_mask(x, _mm512_set1_epi8(86)), one);
  return _mm512_mask_add_epi8(digit, _mm512_cmpge_epu8_mask(x, _mm512_set1_epi8(static_cast<char>(171))), digit, one);
}
KV_INLINE LQ lq_times_3(LQ x) { return _mm512_add_epi8(x, _mm512_add_epi8(x, x)); }

#if defined(KVASIR_KERNEL_VNNI)
constexpr bool kSignedDot8 = false;
KV_INLINE LI lq_dot(LI s, LQ q, int32_t a) { return _mm512_dpbusd_epi32(s, q, _mm512_set1_epi32(a)); }
#else
constexpr bool kSignedDot8 = true;  // full 8-bit weights: sum q-128 with signs moved, so that no 16-bit sum saturates
#endif

/// Four rows of 64 bytes side by side, as 4 x [16][4] bytes `stride` apart, +128.
KV_INLINE void interleave_page(const uint8_t* rows, uint8_t* to, uint64_t stride) {
  const LQ high = lq_set(128);
  const LQ r0 = _mm512_xor_si512(lq_load(rows), high);
  const LQ r1 = _mm512_xor_si512(lq_load(rows + 64), high);
  const LQ r2 = _mm512_xor_si512(lq_load(rows + 128), high);
  const LQ r3 = _mm512_xor_si512(lq_load(rows + 192), high);
  const LQ low01 = _mm512_unpacklo_epi8(r0, r1);
  const LQ high01 = _mm512_unpackhi_epi8(r0, r1);
  const LQ low23 = _mm512_unpacklo_epi8(r2, r3);
  const LQ high23 = _mm512_unpackhi_epi8(r2, r3);
  // lane l of vector i: rows' bytes 16 l + 4 i to 16 l + 4 i + 3
  const LQ v0 = _mm512_unpacklo_epi16(low01, low23);
  const LQ v1 = _mm512_unpackhi_epi16(low01, low23);
  const LQ v2 = _mm512_unpacklo_epi16(high01, high23);
  const LQ v3 = _mm512_unpackhi_epi16(high01, high23);
  const LQ a = _mm512_shuffle_i32x4(v0, v1, 0x44);
  const LQ b = _mm512_shuffle_i32x4(v2, v3, 0x44);
  const LQ c = _mm512_shuffle_i32x4(v0, v1, 0xEE);
  const LQ d = _mm512_shuffle_i32x4(v2, v3, 0xEE);
  lq_store(to, _mm512_shuffle_i32x4(a, b, 0x88));
  lq_store(to + stride, _mm512_shuffle_i32x4(a, b, 0xDD));
  lq_store(to + 2 * stride, _mm512_shuffle_i32x4(c, d, 0x88));
  lq_store(to + 3 * stride, _mm512_shuffle_i32x4(c, d, 0xDD));
}

/// How many sums of two products fit into 16 bits: they are added there before widening.
constexpr int pairs_per_sum(int bits, int vectors) {
  const int fit = bits >= 7 ? 1 : 32767 / (2 * 127 * ((1 << bits) - 1));
  const int power = fit >= 8 ? 8 : fit >= 4 ? 4 : fit >= 2 ? 2 : 1;
  return power < vectors ? power : vectors;
}

/// s + sum over `Vectors` groups of 4 k of q * a, for values of q below 2^Bits. a: [Vectors][columns][4].
template <int Bits, int Vectors>
KV_INLINE LI lq_dot_block(LI s, const LQ* q, const int8_t* a, uint32_t column_bytes) {
#if defined(KVASIR_KERNEL_VNNI)
  KV_UNROLL
  for (int j = 0; j < Vectors; ++j) {
    int32_t v;
    __builtin_memcpy(&v, a + static_cast<uint32_t>(j) * column_bytes, 4);
    s = lq_dot(s, q[j], v);
  }
  return s;
#else
  constexpr int kPerSum = pairs_per_sum(Bits, Vectors);
  const __m512i ones = _mm512_set1_epi16(1);
  KV_UNROLL
  for (int j = 0; j < Vectors; j += kPerSum) {
    __m512i sum = _mm512_setzero_si512();
    KV_UNROLL
    for (int i = j; i < j + kPerSum; ++i) {
      int32_t v;
      __builtin_memcpy(&v, a + static_cast<uint32_t>(i) * column_bytes, 4);
      const __m512i b = _mm512_set1_epi32(v);
      __m512i pair;
      if constexpr (Bits >= 8) {
        const __m512i w = _mm512_xor_si512(q[i], _mm512_set1_epi8(-128));
        const __m512i moved = _mm512_mask_sub_epi8(b, _mm512_movepi8_mask(w), _mm512_setzero_si512(), b);
        pair = _mm512_maddubs_epi16(_mm512_abs_epi8(w), moved);
      } else {
        pair = _mm512_maddubs_epi16(q[i], b);
      }
      sum = i == j ? pair : _mm512_add_epi16(sum, pair);
    }
    s = _mm512_add_epi32(s, _mm512_madd_epi16(sum, ones));
  }
  return s;
#endif
}

}  // namespace
}  // namespace kvasir::cpu::KVASIR_ISA
