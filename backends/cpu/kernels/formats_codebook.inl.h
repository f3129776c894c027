// The packed formats that are rarer or below 4 bits: codebooks (IQ1 to IQ3), ternary and binary codes, NVFP4. As in
// formats.inl.h every one of them is w = scale * (q - zero) with q below 128: grid levels and signs, IQ1's level +- 1/8
// (as 8 level +- 1) and ternary digits all are small integers, so the products stay exact and these formats run through
// the same tiles: one column straight from the panel, more from a copy that is expanded once per panel.
//
// Packed codebook block of 256 values (pack_codebook.cpp): f16 d[16], factors, then per 32 values the codes of 16 rows,
// each row's own codes in one or two words. Eight values (4 in IQ3) are one load from a table of kCodebooks.
#pragma once

namespace kvasir::cpu::KVASIR_ISA {
namespace {

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

#define KV_LAMBDA __attribute__((always_inline))

constexpr uint64_t kOnes = 0x0101010101010101U;

/// Bytes zero + level to zero - level where `signs` has a 1: 2 zero - b = (b ^ (2 zero - 1)) + 1, no byte carries.
template <uint32_t Zero>
KV_INLINE uint64_t with_signs(uint64_t point, uint64_t signs) {
  return (point ^ (signs * (2 * Zero - 1))) + signs;
}

/// 32 values of kLanes rows: point(row, 0..3) gives eight values of a row as bytes.
template <class Point>
KV_INLINE void look_up(uint32_t part, LQ* q, Point point) {
  alignas(64) uint64_t eights[4][kLanes];
  KV_NO_UNROLL
  for (uint32_t i = 0; i < kLanes; ++i) point(kLanes * part + i, i, eights);
  KV_UNROLL
  for (uint32_t l = 0; l < 4; ++l) lq_split(eights[l], q[2 * l], q[2 * l + 1]);
}

/// factor(row) of kLanes rows.
template <class Factor>
KV_INLINE LF lf_rows(uint32_t part, Factor factor) {
  alignas(64) float v[kLanes];
  for (uint32_t i = 0; i < kLanes; ++i) v[i] = factor(kLanes * part + i);
  return lf_load(v);
}
/// d * (nibble + 1/2) / 4
KV_INLINE LF quarter_scale(const uint8_t* d, const uint8_t* nibbles, int shift, uint32_t part) {
  const LF code = lf_nibble(nibbles + kLanes * part, shift);
  return lf_mul(f16_rows(d, part), lf_mul(lf_add(code, lf_set(0.5F)), lf_set(0.25F)));
}
struct NoMin {
  KV_INLINE LF min(const uint8_t*, uint32_t, uint32_t) { return lf_zero(); }
};

/// Per 32 values: u32 [16] four 8-bit codes, u32 [16] four times 7 signs and a 4-bit factor.
struct IQ2_XXS : FormatBase<8, 1056, 7, 64, false, false, Aux::kZero64>, NoMin {
  KV_INLINE void quants(const uint8_t* p, uint32_t b, uint32_t part, LQ* q) {
    const uint8_t* codes = p + 32 + 128 * b;
    look_up(part, q, [codes](uint32_t row, uint32_t i, auto& to) KV_LAMBDA {
      const uint32_t code = load_u32(codes + 4 * row);
      const uint32_t rest = load_u32(codes + 64 + 4 * row);
      KV_UNROLL
      for (uint32_t l = 0; l < 4; ++l) {
        to[l][i] = with_signs<64>(kCodebooks.iq2_xxs[code >> (8 * l) & 255U], kCodebooks.even_signs[rest >> (7 * l) & 127U]);
      }
    });
  }
  KV_INLINE LF scale(const uint8_t* p, uint32_t s, uint32_t part) {
    return quarter_scale(p, p + 32 + 128 * s + 64, part);
  }
  /// The factors are the top nibbles of the 32-bit words.
  KV_INLINE LF quarter_scale(const uint8_t* d, const uint8_t* words, uint32_t part) {
    return lf_mul(f16_rows(d, part), lf_rows(part, [words](uint32_t row) KV_LAMBDA {
      return (static_cast<float>(static_cast<int32_t>(load_u32(words + 4 * row) >> 28U)) + 0.5F) * 0.25F;
    }));
  }
};
/// Per 32 values: u64 [16] four times 9 bits of code and 7 signs, u8 [16] two 4-bit factors.
struct IQ2_XS : FormatBase<8, 1184, 7, 64, false, true, Aux::kZero64x16>, NoMin {
  KV_INLINE void quants(const uint8_t* p, uint32_t b, uint32_t part, LQ* q) {
    const uint8_t* codes = p + 32 + 144 * b;
    look_up(part, q, [codes](uint32_t row, uint32_t i, auto& to) KV_LAMBDA {
      const uint64_t code = load_u64(codes + 8 * row);
      KV_UNROLL
      for (uint32_t l = 0; l < 4; ++l) {
        to[l][i] = with_signs<64>(kCodebooks.iq2_xs[code >> (16 * l) & 511U], kCodebooks.even_signs[code >> (16 * l + 9) & 127U]);
      }
    });
  }
  KV_INLINE LF scale(const uint8_t* p, uint32_t s, uint32_t part) {
    return quarter_scale(p, p + 160 + 144 * (s / 2), 4 * static_cast<int>(s % 2), part);
  }
};
/// Per 32 values: u32 [16] low codes, u32 [16] signs, u8 [16] four times 2 high bits, u8 [16] two 4-bit factors.
struct IQ2_S : FormatBase<8, 1312, 7, 64, false, true, Aux::kZero64x16>, NoMin {
  KV_INLINE void quants(const uint8_t* p, uint32_t b, uint32_t part, LQ* q) {
    const uint8_t* codes = p + 32 + 160 * b;
    look_up(part, q, [codes](uint32_t row, uint32_t i, auto& to) KV_LAMBDA {
      const uint32_t low = load_u32(codes + 4 * row);
      const uint32_t signs = load_u32(codes + 64 + 4 * row);
      const uint32_t high = codes[128 + row];
      KV_UNROLL
      for (uint32_t l = 0; l < 4; ++l) {
        const uint32_t code = (low >> (8 * l) & 255U) | (high >> (2 * l) & 3U) << 8U;
        to[l][i] = with_signs<64>(kCodebooks.iq2_s[code], kCodebooks.signs[signs >> (8 * l) & 255U]);
      }
    });
  }
  KV_INLINE LF scale(const uint8_t* p, uint32_t s, uint32_t part) {
    return quarter_scale(p, p + 176 + 160 * (s / 2), 4 * static_cast<int>(s % 2), part);
  }
};
/// Per 32 values: u64 [16] eight codes of 4 values, u32 [16] as IQ2_XXS.
struct IQ3_XXS : FormatBase<8, 1568, 7, 64, false, false, Aux::kZero64>, NoMin {
  KV_INLINE void quants(const uint8_t* p, uint32_t b, uint32_t part, LQ* q) {
    const uint8_t* codes = p + 32 + 192 * b;
    look_up(part, q, [codes](uint32_t row, uint32_t i, auto& to) KV_LAMBDA {
      const uint64_t code = load_u64(codes + 8 * row);
      const uint32_t rest = load_u32(codes + 128 + 4 * row);
      KV_UNROLL
      for (uint32_t l = 0; l < 4; ++l) {
        const uint64_t point = kCodebooks.iq3_xxs[code >> (16 * l) & 255U] | uint64_t{kCodebooks.iq3_xxs[code >> (16 * l + 8) & 255U]} << 32U;
        to[l][i] = with_signs<64>(point, kCodebooks.even_signs[rest >> (7 * l) & 127U]);
      }
    });
  }
  KV_INLINE LF scale(const uint8_t* p, uint32_t s, uint32_t part) {
    return lf_mul(IQ2_XXS::quarter_scale(p, p + 160 + 192 * s, part), lf_set(2.0F));
  }
};
/// u8 [4][16] factors (two of 4 bits), then per 32 values: u64 [16] low codes of 4 values, u8 [16] their ninth bits,
/// u32 [16] signs.
struct IQ3_S : FormatBase<8, 1760, 5, 16, false, false, Aux::kZero16>, NoMin {
  KV_INLINE void quants(const uint8_t* p, uint32_t b, uint32_t part, LQ* q) {
    const uint8_t* codes = p + 96 + 208 * b;
    look_up(part, q, [codes](uint32_t row, uint32_t i, auto& to) KV_LAMBDA {
      const uint64_t low = load_u64(codes + 8 * row);
      const uint32_t high = codes[128 + row];
      const uint32_t signs = load_u32(codes + 144 + 4 * row);
      KV_UNROLL
      for (uint32_t l = 0; l < 4; ++l) {
        const uint64_t first = (low >> (16 * l) & 255U) | (high >> (2 * l) & 1U) << 8U;
        const uint64_t second = (low >> (16 * l + 8) & 255U) | (high >> (2 * l + 1) & 1U) << 8U;
        const uint64_t point = kCodebooks.iq3_s[first] | uint64_t{kCodebooks.iq3_s[second]} << 32U;
        to[l][i] = with_signs<16>(point, kCodebooks.signs[signs >> (8 * l) & 255U]);
      }
    });
  }
  KV_INLINE LF scale(const uint8_t* p, uint32_t s, uint32_t part) {
    const LF code = lf_nibble(p + 32 + 16 * (s / 2) + kLanes * part, 4 * static_cast<int>(s % 2));
    return lf_mul(f16_rows(p, part), lf_add(lf_add(code, code), lf_set(1.0F)));
  }
};
/// Per 32 values: u32 [16] low codes, u16 [16] four times 3 high bits, 3 bits of factor, the sign of delta.
struct IQ1_S : FormatBase<8, 800, 5, 16, false, false, Aux::kZero16>, NoMin {
  KV_INLINE void quants(const uint8_t* p, uint32_t b, uint32_t part, LQ* q) {
    const uint8_t* codes = p + 32 + 96 * b;
    look_up(part, q, [codes](uint32_t row, uint32_t i, auto& to) KV_LAMBDA {
      const uint32_t low = load_u32(codes + 4 * row);
      const uint32_t high = load_u16(codes + 64 + 2 * row);
      const uint64_t delta = (high >> 15U) != 0 ? 0 - kOnes : kOnes;
      KV_UNROLL
      for (uint32_t l = 0; l < 4; ++l) to[l][i] = kCodebooks.iq1[(low >> (8 * l) & 255U) | (high >> (3 * l) & 7U) << 8U] + delta;
    });
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
struct IQ1_M : FormatBase<8, 928, 5, 16, false, true, Aux::kZero16x16>, NoMin {
  KV_INLINE void quants(const uint8_t* p, uint32_t b, uint32_t part, LQ* q) {
    const uint8_t* codes = p + 160 + 96 * b;
    look_up(part, q, [codes](uint32_t row, uint32_t i, auto& to) KV_LAMBDA {
      const uint32_t low = load_u32(codes + 4 * row);
      const uint32_t high = load_u16(codes + 64 + 2 * row);
      KV_UNROLL
      for (uint32_t l = 0; l < 4; ++l) {
        const uint64_t delta = (high >> (4 * l + 3) & 1U) != 0 ? 0 - kOnes : kOnes;
        to[l][i] = kCodebooks.iq1[(low >> (8 * l) & 255U) | (high >> (4 * l) & 7U) << 8U] + delta;
      }
    });
  }
  KV_INLINE LF scale(const uint8_t* p, uint32_t s, uint32_t part) {
    const uint8_t* factors = p + 32 + 32 * (s / 4);
    const uint32_t shift = 3 * (s % 4);
    return lf_mul(f16_rows(p, part), lf_rows(part, [=](uint32_t row) KV_LAMBDA { return IQ1_S::odd_eighths(load_u16(factors + 2 * row) >> shift); }));
  }
};

/// 64 vectors in 13 planes of 64 bytes, each byte a base-3 fraction of five digits. Plane b holds vectors 0..4 of 32
/// values b; digit j / 5 of plane 8 + j % 5 is vector 5 + j % 3 of 32 values j / 3.
struct TQ1_0 : FormatBase<8, 864, 2, 1, false, false, Aux::kZero1>, NoMin {
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
struct TQ2_0 : FormatBase<8, 1056, 2, 1, false, false, Aux::kZero1>, NoMin {
  KV_INLINE void quants(const uint8_t* p, uint32_t b, uint32_t part, LQ* q) { bit_pairs(p + 32 + 128 * b + 4 * kLanes * part, q); }
  KV_INLINE LF scale(const uint8_t* p, uint32_t, uint32_t part) { return f16_rows(p, part); }
};
struct Q2_0 : FormatBase<2, 288, 2, 1, false, false, Aux::kZero1>, NoMin {
  KV_INLINE void quants(const uint8_t* p, uint32_t b, uint32_t part, LQ* q) { bit_pairs(p + 32 + 128 * b + 4 * kLanes * part, q); }
  KV_INLINE LF scale(const uint8_t* p, uint32_t, uint32_t part) { return f16_rows(p, part); }
};
/// A bit is -1 or 1: q is 0 or 2.
struct Q1_0 : FormatBase<4, 288, 2, 1, false, false, Aux::kZero1>, NoMin {
  KV_INLINE void quants(const uint8_t* p, uint32_t b, uint32_t part, LQ* q) {
    KV_UNROLL
    for (uint32_t v = 0; v < 8; ++v) q[v] = lq_set(0);
    or_bits<1>(p + 32 + 64 * b + 4 * kLanes * part, q);
  }
  KV_INLINE LF scale(const uint8_t* p, uint32_t, uint32_t part) { return f16_rows(p, part); }
};
/// u8 [4][16] scales (unsigned E4M3), then nibbles as MXFP4.
struct NVFP4 : FormatBase<2, 576, 5, 12, false, true, Aux::kZero12x16>, NoMin {
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
