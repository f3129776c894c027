// 16 floats in two ymm (`F`), so that row and attention kernels sum in the same order as the AVX-512 ones; the GEMM's
// native lanes (`LF`, `LI`, `LQ`) are 8 rows: half a panel. Included by AVX2 spines only, inside no namespace.
#pragma once

#include <immintrin.h>

#include <cstdint>

#define KV_INLINE static inline __attribute__((always_inline))
#define KV_UNROLL _Pragma("GCC unroll 16")
#define KV_NO_UNROLL _Pragma("GCC unroll 1")

namespace kvasir::cpu::KVASIR_ISA {
namespace {

struct F {
  __m256 a, b;
};
struct I {
  __m256i a, b;
};
struct M {
  __m256 a, b;
};

KV_INLINE F f_set(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
KV_INLINE F f_zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
KV_INLINE F f_load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
KV_INLINE void f_store(float* p, F v) {
  _mm256_storeu_ps(p, v.a);
  _mm256_storeu_ps(p + 8, v.b);
}
KV_INLINE F f_load_part(const float* p, uint32_t n) {
  alignas(32) float all[16] = {};
  for (uint32_t i = 0; i < n; ++i) all[i] = p[i];
  return f_load(all);
}
KV_INLINE void f_store_part(float* p, F v, uint32_t n) {
  alignas(32) float all[16];
  f_store(all, v);
  for (uint32_t i = 0; i < n; ++i) p[i] = all[i];
}
#define KV_EACH2(name, intrinsic) \
  KV_INLINE F name(F x, F y) { return {intrinsic(x.a, y.a), intrinsic(x.b, y.b)}; }
KV_EACH2(f_add, _mm256_add_ps)
KV_EACH2(f_sub, _mm256_sub_ps)
KV_EACH2(f_mul, _mm256_mul_ps)
KV_EACH2(f_div, _mm256_div_ps)
KV_EACH2(f_max, _mm256_max_ps)
KV_EACH2(f_min, _mm256_min_ps)
#undef KV_EACH2
KV_INLINE F f_fma(F x, F y, F z) { return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)}; }
KV_INLINE F f_abs(F x) {
  const __m256 sign = _mm256_set1_ps(-0.0F);
  return {_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
}
KV_INLINE M f_less(F x, F y) { return {_mm256_cmp_ps(x.a, y.a, _CMP_LT_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_LT_OQ)}; }
KV_INLINE F f_select(M m, F yes, F no) { return {_mm256_blendv_ps(no.a, yes.a, m.a), _mm256_blendv_ps(no.b, yes.b, m.b)}; }
KV_INLINE M m_and(M x, M y) { return {_mm256_and_ps(x.a, y.a), _mm256_and_ps(x.b, y.b)}; }
KV_INLINE F f_swap_pairs(F x) { return {_mm256_permute_ps(x.a, 0xB1), _mm256_permute_ps(x.b, 0xB1)}; }
KV_INLINE F f_iota() {
  return {_mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7), _mm256_setr_ps(8, 9, 10, 11, 12, 13, 14, 15)};
}
KV_INLINE I f_round_i(F x) { return {_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)}; }
KV_INLINE F i_float(I x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
/// 2^n for n in [-126, 127].
KV_INLINE F i_exp2(I n) {
  const __m256i bias = _mm256_set1_epi32(127);
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n.a, bias), 23)),
          _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n.b, bias), 23))};
}
KV_INLINE I i_add(I x, I y) { return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
KV_INLINE void i_store_i8(int8_t* p, I v) {
  const __m128i low = _mm_packs_epi32(_mm256_castsi256_si128(v.a), _mm256_extracti128_si256(v.a, 1));
  const __m128i high = _mm_packs_epi32(_mm256_castsi256_si128(v.b), _mm256_extracti128_si256(v.b, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(low, high));
}
KV_INLINE F f_load_f16(const uint16_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
          _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
}
KV_INLINE void f_store_f16(uint16_t* p, F v) {
  constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(v.a, kNearest));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 8), _mm256_cvtps_ph(v.b, kNearest));
}
KV_INLINE __m256 lane_i8(const int8_t* p) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}
KV_INLINE F f_load_i8(const int8_t* p) { return {lane_i8(p), lane_i8(p + 8)}; }

/// Sums in one fixed tree: halves of 8, 4, 2, 1. The same in every instruction set.
KV_INLINE float f_sum(F v) {
  const __m256 a = _mm256_add_ps(v.a, v.b);
  __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  b = _mm_add_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}
KV_INLINE float f_largest(F v) {
  const __m256 a = _mm256_max_ps(v.a, v.b);
  __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  b = _mm_max_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_max_ss(b, _mm_movehdup_ps(b)));
}
KV_INLINE int32_t i_sum(I v) {
  const __m256i a = _mm256_add_epi32(v.a, v.b);
  __m128i b = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  b = _mm_add_epi32(b, _mm_shuffle_epi32(b, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(b, _mm_shuffle_epi32(b, 0xB1)));
}

// ---- native lanes of the GEMM: 8 rows

constexpr uint32_t kLanes = 8;
constexpr uint32_t kTileColumns = 6;  // GEMM tile: 16 registers hold no more
constexpr int kColumnsAtOnce = 1;
constexpr uint32_t kTileQueries = 3;  // attention tile
using LF = __m256;
using LI = __m256i;
using LQ = __m256i;

KV_INLINE LF lf_zero() { return _mm256_setzero_ps(); }
KV_INLINE LF lf_set(float x) { return _mm256_set1_ps(x); }
KV_INLINE LF lf_load(const float* p) { return _mm256_loadu_ps(p); }
KV_INLINE void lf_store(float* p, LF v) { _mm256_storeu_ps(p, v); }
KV_INLINE LF lf_add(LF a, LF b) { return _mm256_add_ps(a, b); }
KV_INLINE LF lf_mul(LF a, LF b) { return _mm256_mul_ps(a, b); }
KV_INLINE LF lf_neg(LF a) { return _mm256_xor_ps(a, _mm256_set1_ps(-0.0F)); }
KV_INLINE LF lf_fma(LF a, LF b, LF c) { return _mm256_fmadd_ps(a, b, c); }
KV_INLINE LF lf_from_i(LI a) { return _mm256_cvtepi32_ps(a); }
/// a * 2^p, `power` being p << 23; 0 becomes 2^(p - 127).
KV_INLINE LF lf_raise(LF a, int32_t power) {
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), _mm256_set1_epi32(power)));
}
KV_INLINE LF lf_load_f16(const void* p) { return _mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(p))); }
KV_INLINE LF lf_load_u8(const uint8_t* p) {
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}
KV_INLINE LF lf_load_i8(const uint8_t* p) { return lane_i8(reinterpret_cast<const int8_t*>(p)); }
/// 2^(e - 128) for each of 8 exponent bytes: half of the E8M0 scale, subnormal for 0 and 1.
KV_INLINE LF lf_load_e8m0_half(const uint8_t* p) {
  const __m256i e = _mm256_slli_epi32(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))), 23);
  return _mm256_mul_ps(_mm256_castsi256_ps(_mm256_max_epi32(e, _mm256_set1_epi32(0x00400000))), _mm256_set1_ps(0.5F));
}
/// Bits shift..shift+3 of 8 bytes.
KV_INLINE LF lf_nibble(const uint8_t* p, int shift) {
  const __m256i b = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  return _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srli_epi32(b, shift), _mm256_set1_epi32(15)));
}
/// [8 rows][2] bf16 as the even and the odd values, exactly.
KV_INLINE void lf_load_bf16_pair(const void* p, LF& even, LF& odd) {
  const __m256i v = _mm256_loadu_si256(static_cast<const __m256i*>(p));
  even = _mm256_castsi256_ps(_mm256_slli_epi32(v, 16));
  odd = _mm256_castsi256_ps(_mm256_and_si256(v, _mm256_set1_epi32(static_cast<int>(0xFFFF0000U))));
}
KV_INLINE LI li_zero() { return _mm256_setzero_si256(); }
KV_INLINE LI li_set(int32_t x) { return _mm256_set1_epi32(x); }
KV_INLINE LI li_left(LI a, int n) { return _mm256_slli_epi32(a, n); }
/// Byte `byte` of every 32-bit lane, less `zero`.
KV_INLINE LI li_byte(LQ q, int byte, int32_t zero) {
  const LI b = _mm256_and_si256(_mm256_srli_epi32(q, 8 * byte), _mm256_set1_epi32(255));
  return _mm256_sub_epi32(b, _mm256_set1_epi32(zero));
}
KV_INLINE LQ lq_load(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
KV_INLINE void lq_store(uint8_t* p, LQ v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
KV_INLINE LQ lq_set(uint8_t x) { return _mm256_set1_epi8(static_cast<char>(x)); }
KV_INLINE LQ lq_table(const uint8_t* p) {
  return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
KV_INLINE LQ lq_lookup(LQ table, LQ index) { return _mm256_shuffle_epi8(table, index); }
KV_INLINE LQ lq_and(LQ a, LQ b) { return _mm256_and_si256(a, b); }
/// a | (b & c)
KV_INLINE LQ lq_or_and(LQ a, LQ b, LQ c) { return _mm256_or_si256(a, _mm256_and_si256(b, c)); }
/// Shifts in 16-bit units: bits cross into the neighbour byte, so the result must be masked.
KV_INLINE LQ lq_right(LQ a, unsigned n) { return _mm256_srli_epi16(a, static_cast<int>(n)); }
KV_INLINE LQ lq_left(LQ a, unsigned n) { return _mm256_slli_epi16(a, static_cast<int>(n)); }
/// 8 pairs of groups of 4 bytes: the first and the second groups.
KV_INLINE void lq_split(const uint64_t* pairs, LQ& first, LQ& second) {
  const __m256 a = _mm256_load_ps(reinterpret_cast<const float*>(pairs));
  const __m256 b = _mm256_load_ps(reinterpret_cast<const float*>(pairs + 4));
  first = _mm256_permute4x64_epi64(_mm256_castps_si256(_mm256_shuffle_ps(a, b, 0x88)), 0xD8);
  second = _mm256_permute4x64_epi64(_mm256_castps_si256(_mm256_shuffle_ps(a, b, 0xDD)), 0xD8);
}
/// Lanes of four times 7 sign bits as four bytes: the eighth sign makes the number of set ones even.
KV_INLINE LQ lq_even_signs(LQ x) {
  const auto field = [x](int mask, int n) __attribute__((always_inline)) { return _mm256_slli_epi32(_mm256_and_si256(x, _mm256_set1_epi32(mask)), n); };
  const LQ seven = _mm256_or_si256(_mm256_or_si256(field(0x7F, 0), field(0x3F80, 1)), _mm256_or_si256(field(0x1FC000, 2), field(0xFE00000, 3)));
  LQ odd = _mm256_xor_si256(seven, _mm256_and_si256(_mm256_srli_epi32(seven, 4), _mm256_set1_epi8(15)));
  odd = _mm256_xor_si256(odd, _mm256_srli_epi32(odd, 2));
  odd = _mm256_xor_si256(odd, _mm256_srli_epi32(odd, 1));
  return lq_or_and(seven, _mm256_slli_epi32(odd, 7), _mm256_set1_epi8(-128));
}
/// Bytes of vector `V` (of 8: bits 4 V to 4 V + 3 of each lane of `signs`) become zero - level where their bit is set.
template <int V>
KV_INLINE void lq_negate(LQ& q, LQ signs, LQ twice_zero) {
  constexpr int kByte = V / 2 * 0x01010101;
  const LQ bytes = _mm256_shuffle_epi8(signs, _mm256_setr_epi32(kByte, 0x04040404 + kByte, 0x08080808 + kByte, 0x0C0C0C0C + kByte,
                                                                kByte, 0x04040404 + kByte, 0x08080808 + kByte, 0x0C0C0C0C + kByte));
  const LQ bits = _mm256_set1_epi32(V % 2 == 0 ? 0x08040201 : static_cast<int>(0x80402010U));
  const LQ set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bits), bits);
  q = _mm256_blendv_epi8(q, _mm256_sub_epi8(twice_zero, q), set);
}
/// Bytes that are base-3 fractions: the first digit, floor(3 x / 256), and 3 x modulo 256, which begins with the next.
KV_INLINE LQ lq_first_digit(LQ x) {
  const LQ one = _mm256_cmpeq_epi8(_mm256_max_epu8(x, _mm256_set1_epi8(86)), x);  // -1 where at least 1
  const LQ two = _mm256_cmpeq_epi8(_mm256_max_epu8(x, _mm256_set1_epi8(static_cast<char>(171))), x);
  return _mm256_sub_epi8(_mm256_setzero_si256(), _mm256_add_epi8(one, two));
}
KV_INLINE LQ lq_times_3(LQ x) { return _mm256_add_epi8(x, _mm256_add_epi8(x, x)); }

#if defined(KVASIR_KERNEL_VNNI)
constexpr bool kSignedDot8 = false;
#else
constexpr bool kSignedDot8 = true;  // full 8-bit weights: sum q-128 with signs moved, so that no 16-bit sum saturates
#endif

/// Four rows of 64 bytes side by side, as 4 x [16][4] bytes `stride` apart, +128.
KV_INLINE void interleave_page(const uint8_t* rows, uint8_t* to, uint64_t stride) {
  for (uint32_t i = 0; i < 4; ++i, rows += 16, to += stride) {
    const __m128i high = _mm_set1_epi8(-128);
    __m128i r[4];
    for (uint32_t j = 0; j < 4; ++j) r[j] = _mm_xor_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(rows + 64 * j)), high);
    const __m128i low01 = _mm_unpacklo_epi8(r[0], r[1]);
    const __m128i high01 = _mm_unpackhi_epi8(r[0], r[1]);
    const __m128i low23 = _mm_unpacklo_epi8(r[2], r[3]);
    const __m128i high23 = _mm_unpackhi_epi8(r[2], r[3]);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_unpacklo_epi16(low01, low23));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 16), _mm_unpackhi_epi16(low01, low23));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 32), _mm_unpacklo_epi16(high01, high23));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 48), _mm_unpackhi_epi16(high01, high23));
  }
}

/// How many sums of two products fit into 16 bits: they are added there before widening.
constexpr int pairs_per_sum(int bits, int vectors) {
  const int fit = bits >= 7 ? 1 : 32767 / (2 * 127 * ((1 << bits) - 1));
  const int power = fit >= 8 ? 8 : fit >= 4 ? 4 : fit >= 2 ? 2 : 1;
  return power < vectors ? power : vectors;
}

#if defined(KVASIR_KERNEL_VNNI)
KV_INLINE LI lq_dot(LI s, LQ q, int32_t a) { return _mm256_dpbusd_avx_epi32(s, q, _mm256_set1_epi32(a)); }
#endif

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
  const __m256i ones = _mm256_set1_epi16(1);
  KV_UNROLL
  for (int j = 0; j < Vectors; j += kPerSum) {
    __m256i sum = _mm256_setzero_si256();
    KV_UNROLL
    for (int i = j; i < j + kPerSum; ++i) {
      int32_t v;
      __builtin_memcpy(&v, a + static_cast<uint32_t>(i) * column_bytes, 4);
      const __m256i b = _mm256_set1_epi32(v);
      __m256i pair;
      if constexpr (Bits >= 8) {
        const __m256i w = _mm256_xor_si256(q[i], _mm256_set1_epi8(-128));
        pair = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(b, w));
      } else {
        pair = _mm256_maddubs_epi16(q[i], b);
      }
      sum = i == j ? pair : _mm256_add_epi16(sum, pair);
    }
    s = _mm256_add_epi32(s, _mm256_madd_epi16(sum, ones));
  }
  return s;
#endif
}

}  // namespace
}  // namespace kvasir::cpu::KVASIR_ISA
