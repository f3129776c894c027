// The packed formats that are rarer or below 4 bits: codebooks (IQ1 to IQ3), ternary and binary codes, NVFP4. As in
// formats.inl.h every one of them is w = scale * (q - zero) with q below 128: grid levels and signs, IQ1's level +- 1/8
// (as 8 level +- 1) and ternary digits all are small integers, so the products stay exact and these formats run through
// the tiles that the others use.
//
// Packed codebook block of 256 values (pack_codebook.cpp): f16 d[16], factors, then per 32 values the codes of 16 rows,
// each row's own codes in one word. look_up() puts eight values of a row at a time (4 + 4 in IQ3) into memory: scalar
// loads from kCodebooks, since a gather takes as long on some CPUs and much longer on others. Reading these back as
// vectors waits for the stores, so expand_panel() looks up a whole block first.
#pragma once

namespace kvasir::cpu::KVASIR_ISA {
namespace {

#define KV_LAMBDA __attribute__((always_inline))
/// Keeps compilers from turning a loop over rows into gathers: they judge those by one CPU's cost.
#define KV_KEEP_SCALAR(x) __asm__("" : "+r"(x))

KV_INLINE uint32_t load_u16(const uint8_t* p) {
  uint16_t v;
  __builtin_memcpy(&v, p, 2);
  return v;
}
KV_INLINE uint32_t load_u32(const uint8_t* p) {
  uint32_t v;
  __builtin_memcpy(&v, p, 4);
  return v;
}
KV_INLINE uint64_t load_u64(const uint8_t* p) {
  uint64_t v;
  __builtin_memcpy(&v, p, 8);
  return v;
}

/// Eight values of 16 rows, as bytes, for each of the four groups of 32 values.
using Eights = uint64_t[4][kPanelRows];
constexpr uint64_t kOnes = 0x0101010101010101U;

/// 32 values of kLanes rows from what look_up() found: k interleaved, signs applied.
template <class W>
KV_INLINE void finish_lookup(const uint8_t* p, uint32_t b, uint32_t part, const Eights& eights, LQ* q) {
  KV_UNROLL
  for (uint32_t l = 0; l < 4; ++l) lq_split(eights[l] + kLanes * part, q[2 * l], q[2 * l + 1]);
  if constexpr (W::kSigned) {
    const LQ signs = W::signs(p, b, part);
    const LQ twice_zero = lq_set(2 * W::kZero);
    lq_negate<0>(q[0], signs, twice_zero), lq_negate<1>(q[1], signs, twice_zero);
    lq_negate<2>(q[2], signs, twice_zero), lq_negate<3>(q[3], signs, twice_zero);
    lq_negate<4>(q[4], signs, twice_zero), lq_negate<5>(q[5], signs, twice_zero);
    lq_negate<6>(q[6], signs, twice_zero), lq_negate<7>(q[7], signs, twice_zero);
  }
}
template <class W>
struct LookedUp {
  KV_INLINE void quants(const uint8_t* p, uint32_t b, uint32_t part, LQ* q) {
    alignas(64) Eights eights;
    W::look_up(p, b, eights);
    finish_lookup<W>(p, b, part, eights, q);
  }
  KV_INLINE LF min(const uint8_t*, uint32_t, uint32_t) { return lf_zero(); }
};
struct Unpacked {
  KV_INLINE LF min(const uint8_t*, uint32_t, uint32_t) { return lf_zero(); }
};

/// factor(row) of kLanes rows.
template <class Factor>
KV_INLINE LF lf_rows(uint32_t part, Factor factor) {
  alignas(64) float v[kLanes];
  for (uint32_t i = 0; i < kLanes; ++i) v[i] = factor(kLanes * part + i);
  return lf_load(v);
}
/// d * (code + 1/2) / 4
KV_INLINE LF quarter_scale(const uint8_t* d, LF code, uint32_t part) {
  return lf_mul(f16_rows(d, part), lf_mul(lf_add(code, lf_set(0.5F)), lf_set(0.25F)));
}
/// The top nibbles of 32-bit words.
KV_INLINE LF top_nibbles(const uint8_t* words, uint32_t part) {
  return lf_rows(part, [words](uint32_t row) KV_LAMBDA { return static_cast<float>(static_cast<int32_t>(load_u32(words + 4 * row) >> 28U)); });
}

/// Per 32 values: u32 [16] four 8-bit codes, u32 [16] four times 7 signs and a 4-bit factor.
struct IQ2_XXS : FormatBase<8, 1056, 7, 64, false, false, Aux::kZero64>, LookedUp<IQ2_XXS> {
  static constexpr bool kSigned = true;
  KV_INLINE void look_up(const uint8_t* p, uint32_t b, Eights& to) {
    const uint8_t* codes = p + 32 + 128 * b;
    for (uint32_t row = 0; row < kPanelRows; ++row) {
      uint32_t code = load_u32(codes + 4 * row);
      KV_KEEP_SCALAR(code);
      KV_UNROLL
      for (uint32_t l = 0; l < 4; ++l) to[l][row] = kCodebooks.iq2_xxs[code >> (8 * l) & 255U];
    }
  }
  KV_INLINE LQ signs(const uint8_t* p, uint32_t b, uint32_t part) { return lq_even_signs(lq_load(p + 96 + 128 * b + 4 * kLanes * part)); }
  KV_INLINE LF scale(const uint8_t* p, uint32_t s, uint32_t part) { return quarter_scale(p, top_nibbles(p + 96 + 128 * s, part), part); }
};
/// Per 32 values: u32 [16] four times 8 low bits of code, u32 [16] four times 7 signs and the four ninth bits, u8 [16]
/// two 4-bit factors.
struct IQ2_XS : FormatBase<8, 1184, 7, 64, false, true, Aux::kZero64x16>, LookedUp<IQ2_XS> {
  static constexpr bool kSigned = true;
  KV_INLINE void look_up(const uint8_t* p, uint32_t b, Eights& to) {
    const uint8_t* codes = p + 32 + 144 * b;
    for (uint32_t row = 0; row < kPanelRows; ++row) {
      uint32_t low = load_u32(codes + 4 * row);
      const uint32_t high = load_u32(codes + 64 + 4 * row) >> 28U;
      KV_KEEP_SCALAR(low);
      KV_UNROLL
      for (uint32_t l = 0; l < 4; ++l) to[l][row] = kCodebooks.iq2_xs[(low >> (8 * l) & 255U) | (high >> l & 1U) << 8U];
    }
  }
  KV_INLINE LQ signs(const uint8_t* p, uint32_t b, uint32_t part) { return lq_even_signs(lq_load(p + 96 + 144 * b + 4 * kLanes * part)); }
  KV_INLINE LF scale(const uint8_t* p, uint32_t s, uint32_t part) {
    return quarter_scale(p, lf_nibble(p + 160 + 144 * (s / 2) + kLanes * part, 4 * static_cast<int>(s % 2)), part);
  }
};
/// Per 32 values: u32 [16] low codes, u32 [16] signs, u8 [16] four times 2 high bits, u8 [16] two 4-bit factors.
struct IQ2_S : FormatBase<8, 1312, 7, 64, false, true, Aux::kZero64x16>, LookedUp<IQ2_S> {
  static constexpr bool kSigned = true;
  KV_INLINE void look_up(const uint8_t* p, uint32_t b, Eights& to) {
    const uint8_t* codes = p + 32 + 160 * b;
    for (uint32_t row = 0; row < kPanelRows; ++row) {
      uint32_t low = load_u32(codes + 4 * row);
      const uint32_t high = codes[128 + row];
      KV_KEEP_SCALAR(low);
      KV_UNROLL
      for (uint32_t l = 0; l < 4; ++l) to[l][row] = kCodebooks.iq2_s[(low >> (8 * l) & 255U) | (high >> (2 * l) & 3U) << 8U];
    }
  }
  KV_INLINE LQ signs(const uint8_t* p, uint32_t b, uint32_t part) { return lq_load(p + 96 + 160 * b + 4 * kLanes * part); }
  KV_INLINE LF scale(const uint8_t* p, uint32_t s, uint32_t part) {
    return quarter_scale(p, lf_nibble(p + 176 + 160 * (s / 2) + kLanes * part, 4 * static_cast<int>(s % 2)), part);
  }
};
/// Per 32 values: u64 [16] eight codes of 4 values, u32 [16] as IQ2_XXS.
struct IQ3_XXS : FormatBase<8, 1568, 7, 64, false, false, Aux::kZero64>, LookedUp<IQ3_XXS> {
  static constexpr bool kSigned = true;
  KV_INLINE void look_up(const uint8_t* p, uint32_t b, Eights& to) {
    const uint8_t* codes = p + 32 + 192 * b;
    for (uint32_t row = 0; row < kPanelRows; ++row) {
      uint64_t code = load_u64(codes + 8 * row);
      KV_KEEP_SCALAR(code);
      KV_UNROLL
      for (uint32_t l = 0; l < 4; ++l) {
        to[l][row] = kCodebooks.iq3_xxs[code >> (16 * l) & 255U] | uint64_t{kCodebooks.iq3_xxs[code >> (16 * l + 8) & 255U]} << 32U;
      }
    }
  }
  KV_INLINE LQ signs(const uint8_t* p, uint32_t b, uint32_t part) { return lq_even_signs(lq_load(p + 160 + 192 * b + 4 * kLanes * part)); }
  KV_INLINE LF scale(const uint8_t* p, uint32_t s, uint32_t part) {
    return lf_mul(quarter_scale(p, top_nibbles(p + 160 + 192 * s, part), part), lf_set(2.0F));
  }
};
/// u8 [4][16] factors (two of 4 bits), then per 32 values: u64 [16] low codes of 4 values, u8 [16] their ninth bits,
/// u32 [16] signs.
struct IQ3_S : FormatBase<8, 1760, 5, 16, false, false, Aux::kZero16>, LookedUp<IQ3_S> {
  static constexpr bool kSigned = true;
  KV_INLINE void look_up(const uint8_t* p, uint32_t b, Eights& to) {
    const uint8_t* codes = p + 96 + 208 * b;
    for (uint32_t row = 0; row < kPanelRows; ++row) {
      uint64_t low = load_u64(codes + 8 * row);
      const uint32_t high = codes[128 + row];
      KV_KEEP_SCALAR(low);
      KV_UNROLL
      for (uint32_t l = 0; l < 4; ++l) {
        const uint64_t first = (low >> (16 * l) & 255U) | (high >> (2 * l) & 1U) << 8U;
        const uint64_t second = (low >> (16 * l + 8) & 255U) | (high >> (2 * l + 1) & 1U) << 8U;
        to[l][row] = kCodebooks.iq3_s[first] | uint64_t{kCodebooks.iq3_s[second]} << 32U;
      }
    }
  }
  KV_INLINE LQ signs(const uint8_t* p, uint32_t b, uint32_t part) { return lq_load(p + 240 + 208 * b + 4 * kLanes * part); }
  KV_INLINE LF scale(const uint8_t* p, uint32_t s, uint32_t part) {
    const LF code = lf_nibble(p + 32 + 16 * (s / 2) + kLanes * part, 4 * static_cast<int>(s % 2));
    return lf_mul(f16_rows(p, part), lf_add(lf_add(code, code), lf_set(1.0F)));
  }
};
/// Per 32 values: u32 [16] low codes, u16 [16] four times 3 high bits, 3 bits of factor, the sign of delta.
struct IQ1_S : FormatBase<8, 800, 5, 16, false, false, Aux::kZero16>, LookedUp<IQ1_S> {
  static constexpr bool kSigned = false;
  KV_INLINE void look_up(const uint8_t* p, uint32_t b, Eights& to) {
    const uint8_t* codes = p + 32 + 96 * b;
    for (uint32_t row = 0; row < kPanelRows; ++row) {
      uint32_t low = load_u32(codes + 4 * row);
      const uint32_t high = load_u16(codes + 64 + 2 * row);
      const uint64_t delta = (high >> 15U) != 0 ? 0 - kOnes : kOnes;
      KV_KEEP_SCALAR(low);
      KV_UNROLL
      for (uint32_t l = 0; l < 4; ++l) to[l][row] = kCodebooks.iq1[(low >> (8 * l) & 255U) | (high >> (3 * l) & 7U) << 8U] + delta;
    }
  }
  KV_INLINE LF scale(const uint8_t* p, uint32_t s, uint32_t part) {
    const uint8_t* high = p + 96 + 96 * s;
    return lf_mul(f16_rows(p, part), lf_rows(part, [high](uint32_t row) KV_LAMBDA { return odd_eighths(load_u16(high + 2 * row) >> 12U); }));
  }
  /// (2 code + 1) / 8 for the low three bits.
  KV_INLINE float odd_eighths(uint32_t code) { return static_cast<float>(static_cast<int32_t>(2 * (code & 7U) + 1)) * 0.125F; }
};
/// u16 [4][16] factors (four of 3 bits), then per 32 values: u32 [16] low codes, u16 [16] four times 3 high bits and the
/// sign of delta.
struct IQ1_M : FormatBase<8, 928, 5, 16, false, true, Aux::kZero16x16>, LookedUp<IQ1_M> {
  static constexpr bool kSigned = false;
  KV_INLINE void look_up(const uint8_t* p, uint32_t b, Eights& to) {
    const uint8_t* codes = p + 160 + 96 * b;
    for (uint32_t row = 0; row < kPanelRows; ++row) {
      uint32_t low = load_u32(codes + 4 * row);
      const uint32_t high = load_u16(codes + 64 + 2 * row);
      KV_KEEP_SCALAR(low);
      KV_UNROLL
      for (uint32_t l = 0; l < 4; ++l) {
        const uint64_t delta = (high >> (4 * l + 3) & 1U) != 0 ? 0 - kOnes : kOnes;
        to[l][row] = kCodebooks.iq1[(low >> (8 * l) & 255U) | (high >> (4 * l) & 7U) << 8U] + delta;
      }
    }
  }
  KV_INLINE LF scale(const uint8_t* p, uint32_t s, uint32_t part) {
    const uint8_t* factors = p + 32 + 32 * (s / 4);
    const uint32_t shift = 3 * (s % 4);
    return lf_mul(f16_rows(p, part), lf_rows(part, [=](uint32_t row) KV_LAMBDA { return IQ1_S::odd_eighths(load_u16(factors + 2 * row) >> shift); }));
  }
};

/// 64 vectors in 13 planes of 64 bytes, each byte a base-3 fraction of five digits. Plane b holds vectors 0..4 of 32
/// values b; digit j / 5 of plane 8 + j % 5 is vector 5 + j % 3 of 32 values j / 3.
struct TQ1_0 : FormatBase<8, 864, 2, 1, false, false, Aux::kZero1>, Unpacked {
  KV_INLINE void quants(const uint8_t* p, uint32_t b, uint32_t part, LQ* q) {
    const uint8_t* planes = p + 32 + 4 * kLanes * part;
    LQ code = lq_load(planes + 64 * b);
    KV_UNROLL
    for (uint32_t v = 0; v < 5; ++v) {
      q[v] = lq_first_digit(code);
      code = lq_times_3(code);
    }
    KV_UNROLL
    for (uint32_t v = 5; v < 8; ++v) {
      const uint32_t j = 3 * b + v - 5;
      code = lq_load(planes + 64 * (8 + j % 5));
      for (uint32_t digit = j / 5; digit > 0; --digit) code = lq_times_3(code);
      q[v] = lq_first_digit(code);
    }
  }
  KV_INLINE LF scale(const uint8_t* p, uint32_t, uint32_t part) { return f16_rows(p, part); }
};
struct TQ2_0 : FormatBase<8, 1056, 2, 1, false, false, Aux::kZero1>, Unpacked {
  KV_INLINE void quants(const uint8_t* p, uint32_t b, uint32_t part, LQ* q) { bit_pairs(p + 32 + 128 * b + 4 * kLanes * part, q); }
  KV_INLINE LF scale(const uint8_t* p, uint32_t, uint32_t part) { return f16_rows(p, part); }
};
struct Q2_0 : FormatBase<2, 288, 2, 1, false, false, Aux::kZero1>, Unpacked {
  KV_INLINE void quants(const uint8_t* p, uint32_t b, uint32_t part, LQ* q) { bit_pairs(p + 32 + 128 * b + 4 * kLanes * part, q); }
  KV_INLINE LF scale(const uint8_t* p, uint32_t, uint32_t part) { return f16_rows(p, part); }
};
/// A bit is -1 or 1: q is 0 or 2.
struct Q1_0 : FormatBase<4, 288, 2, 1, false, false, Aux::kZero1>, Unpacked {
  KV_INLINE void quants(const uint8_t* p, uint32_t b, uint32_t part, LQ* q) {
    KV_UNROLL
    for (uint32_t v = 0; v < 8; ++v) q[v] = lq_set(0);
    or_bits<1>(p + 32 + 64 * b + 4 * kLanes * part, q);
  }
  KV_INLINE LF scale(const uint8_t* p, uint32_t, uint32_t part) { return f16_rows(p, part); }
};
/// u8 [4][16] scales (unsigned E4M3), then nibbles as MXFP4.
struct NVFP4 : FormatBase<2, 576, 5, 12, false, true, Aux::kZero12x16>, Unpacked {
  KV_INLINE void quants(const uint8_t* p, uint32_t b, uint32_t part, LQ* q) { looked_up(p + 64 + 256 * b + 4 * kLanes * part, kMxfp4Values, q); }
  /// Half of the scale, since the levels are doubled: mantissa * 2^(exponent - 11).
  KV_INLINE LF scale(const uint8_t* p, uint32_t s, uint32_t part) {
    const uint8_t* codes = p + 16 * s;
    return lf_rows(part, [codes](uint32_t row) KV_LAMBDA {
      const int32_t exponent = codes[row] >> 3;
      const int32_t mantissa = (codes[row] & 7) + (exponent > 0 ? 8 : 0);
      const int32_t power = ((exponent > 0 ? exponent : 1) + 116) << 23;
      float factor;
      __builtin_memcpy(&factor, &power, 4);
      return static_cast<float>(mantissa) * factor;
    });
  }
};

}  // namespace
}  // namespace kvasir::cpu::KVASIR_ISA
