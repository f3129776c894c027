// The packed weight formats, one struct each: how to get the 8-bit quants and the scales of 16 rows out of a packed
// block (pack.cpp writes them; format.h has the sizes). All are read as w = scale * (q - zero) or w = scale * q + min
// per 32 values, or per 16 where kHalves. A new format needs one struct here, its packer, and a row in format.h.
// kSuper: scale = d * factor and min = -dmin * mins, where the factors and mins of sub-blocks are small integers.
//
// A block of 32 values of 16 rows is 8 vectors of [16 rows][4 k]. Bit planes are stored so that shifts and masks give
// these vectors: 4-bit plane: vector v in the low and v+4 in the high nibbles of 64 bytes; 2-bit: v..v+3 in the four
// pairs of bits of 64 bytes; 1-bit: vector v in bit v of 64 bytes.
#pragma once

namespace kvasir::cpu::KVASIR_ISA {
namespace {

constexpr uint32_t kParts = kPanelRows / kLanes;  // native vectors per 16 rows

KV_INLINE void low_nibbles(const uint8_t* p, LQ* q) {
  const LQ mask = lq_set(15);
  KV_UNROLL
  for (uint32_t v = 0; v < 4; ++v) {
    const LQ both = lq_load(p + 64 * v);
    q[v] = lq_and(both, mask);
    q[v + 4] = lq_and(lq_right(both, 4), mask);
  }
}
/// Ors bit v of a 1-bit plane into vector v, as bit `To`.
template <unsigned To>
KV_INLINE void or_bits(const uint8_t* p, LQ* q) {
  const LQ mask = lq_set(static_cast<uint8_t>(1U << To));
  const LQ plane = lq_load(p);
  KV_UNROLL
  for (unsigned v = 0; v < 8; ++v) {
    const LQ moved = v < To ? lq_left(plane, To - v) : lq_right(plane, v - To);
    q[v] = lq_or_and(q[v], moved, mask);
  }
}
KV_INLINE void bit_pairs(const uint8_t* p, LQ* q) {
  const LQ mask = lq_set(3);
  KV_UNROLL
  for (unsigned v = 0; v < 8; ++v) q[v] = lq_and(lq_right(lq_load(p + 64 * (v / 4)), 2 * (v % 4)), mask);
}

/// What all of them share. `part`: which native vector of the 16 rows.
template <uint32_t Blocks, uint32_t Bytes, int Bits, int32_t Zero, bool Min, bool Halves, Aux Kind>
struct FormatBase {
  static constexpr uint32_t kBlocks = Blocks;  // of 32 values per packed block
  static constexpr uint32_t kBytes = Bytes;    // of a packed block of 16 rows
  static constexpr int kBits = Bits;
  static constexpr int32_t kZero = Zero;
  static constexpr bool kMin = Min;
  static constexpr bool kHalves = Halves;
  static constexpr Aux kAux = Kind;
  static constexpr bool kSuper = is_super(static_cast<uint32_t>(Kind));
  static constexpr uint32_t kSubs = Halves ? 16 : 8;  // of 256 values, where kSuper
};
KV_INLINE LF f16_rows(const uint8_t* p, uint32_t part) { return lf_load_f16(p + 2 * kLanes * part); }

struct Q4_0 : FormatBase<1, 288, 4, 8, false, false, Aux::kZero8> {
  KV_INLINE void quants(const uint8_t* p, uint32_t, uint32_t part, LQ* q) { low_nibbles(p + 32 + 4 * kLanes * part, q); }
  KV_INLINE LF scale(const uint8_t* p, uint32_t, uint32_t part) { return f16_rows(p, part); }
  KV_INLINE LF min(const uint8_t*, uint32_t, uint32_t) { return lf_zero(); }
};
struct Q4_1 : FormatBase<1, 320, 4, 0, true, false, Aux::kMin> {
  KV_INLINE void quants(const uint8_t* p, uint32_t, uint32_t part, LQ* q) { low_nibbles(p + 64 + 4 * kLanes * part, q); }
  KV_INLINE LF scale(const uint8_t* p, uint32_t, uint32_t part) { return f16_rows(p, part); }
  KV_INLINE LF min(const uint8_t* p, uint32_t, uint32_t part) { return f16_rows(p + 32, part); }
};
struct Q5_0 : FormatBase<1, 352, 5, 16, false, false, Aux::kZero16> {
  KV_INLINE void quants(const uint8_t* p, uint32_t, uint32_t part, LQ* q) {
    low_nibbles(p + 96 + 4 * kLanes * part, q);
    or_bits<4>(p + 32 + 4 * kLanes * part, q);
  }
  KV_INLINE LF scale(const uint8_t* p, uint32_t, uint32_t part) { return f16_rows(p, part); }
  KV_INLINE LF min(const uint8_t*, uint32_t, uint32_t) { return lf_zero(); }
};
struct Q5_1 : FormatBase<1, 384, 5, 0, true, false, Aux::kMin> {
  KV_INLINE void quants(const uint8_t* p, uint32_t, uint32_t part, LQ* q) {
    low_nibbles(p + 128 + 4 * kLanes * part, q);
    or_bits<4>(p + 64 + 4 * kLanes * part, q);
  }
  KV_INLINE LF scale(const uint8_t* p, uint32_t, uint32_t part) { return f16_rows(p, part); }
  KV_INLINE LF min(const uint8_t* p, uint32_t, uint32_t part) { return f16_rows(p + 32, part); }
};
struct Q8_0 : FormatBase<1, 544, 8, 128, false, false, Aux::kZero128> {
  KV_INLINE void quants(const uint8_t* p, uint32_t, uint32_t part, LQ* q) {
    KV_UNROLL
    for (uint32_t v = 0; v < 8; ++v) q[v] = lq_load(p + 32 + 64 * v + 4 * kLanes * part);
  }
  KV_INLINE LF scale(const uint8_t* p, uint32_t, uint32_t part) { return f16_rows(p, part); }
  KV_INLINE LF min(const uint8_t*, uint32_t, uint32_t) { return lf_zero(); }
};

/// K-quants: d and dmin as f16[16], then per sub-block the factors of 16 rows, then minima as [4 sub-blocks][16 rows][4],
/// then per 32 values all bit planes: one stream in memory (planes in regions of their own cost half of the bandwidth:
/// prefetchers lose them).
template <class W>
struct SuperScales {
  KV_INLINE LF d(const uint8_t* p, uint32_t part) { return f16_rows(p, part); }
  KV_INLINE LF dmin(const uint8_t* p, uint32_t part) { return f16_rows(p + 32, part); }
  KV_INLINE LF scale(const uint8_t* p, uint32_t s, uint32_t part) { return lf_mul(d(p, part), W::factor(p, s, part)); }
  KV_INLINE LF min(const uint8_t* p, uint32_t s, uint32_t part) {
    if constexpr (!W::kMin) {
      return lf_zero();
    } else {
      LQ mins[W::kSubs / 4];
      W::mins(p, part, mins);
      return lf_mul(lf_neg(dmin(p, part)), lf_from_i(li_byte(mins[s / 4], static_cast<int>(s % 4), 0)));
    }
  }
};

struct Q4_K : FormatBase<8, 2368, 4, 0, true, false, Aux::kSuperMin>, SuperScales<Q4_K> {
  KV_INLINE void quants(const uint8_t* p, uint32_t b, uint32_t part, LQ* q) {
    low_nibbles(p + 320 + 256 * b + 4 * kLanes * part, q);
  }
  KV_INLINE LF factor(const uint8_t* p, uint32_t s, uint32_t part) { return lf_load_u8(p + 64 + 16 * s + kLanes * part); }
  KV_INLINE void mins(const uint8_t* p, uint32_t part, LQ* m) {
    for (uint32_t i = 0; i < 2; ++i) m[i] = lq_load(p + 192 + 64 * i + 4 * kLanes * part);
  }
};
struct Q5_K : FormatBase<8, 2880, 5, 0, true, false, Aux::kSuperMin>, SuperScales<Q5_K> {
  KV_INLINE void quants(const uint8_t* p, uint32_t b, uint32_t part, LQ* q) {
    low_nibbles(p + 384 + 320 * b + 4 * kLanes * part, q);
    or_bits<4>(p + 320 + 320 * b + 4 * kLanes * part, q);
  }
  KV_INLINE LF factor(const uint8_t* p, uint32_t s, uint32_t part) { return Q4_K::factor(p, s, part); }
  KV_INLINE void mins(const uint8_t* p, uint32_t part, LQ* m) { Q4_K::mins(p, part, m); }
};
struct Q6_K : FormatBase<8, 3360, 6, 32, false, true, Aux::kSuperZero32x16>, SuperScales<Q6_K> {
  KV_INLINE void quants(const uint8_t* p, uint32_t b, uint32_t part, LQ* q) {
    low_nibbles(p + 288 + 384 * b + 4 * kLanes * part, q);
    const LQ mask = lq_set(0x30);
    KV_UNROLL
    for (unsigned half = 0; half < 2; ++half) {
      const LQ plane = lq_load(p + 544 + 384 * b + 64 * half + 4 * kLanes * part);
      q[4 * half] = lq_or_and(q[4 * half], lq_left(plane, 4), mask);
      q[4 * half + 1] = lq_or_and(q[4 * half + 1], lq_left(plane, 2), mask);
      q[4 * half + 2] = lq_or_and(q[4 * half + 2], plane, mask);
      q[4 * half + 3] = lq_or_and(q[4 * half + 3], lq_right(plane, 2), mask);
    }
  }
  KV_INLINE LF factor(const uint8_t* p, uint32_t s, uint32_t part) { return lf_load_i8(p + 32 + 16 * s + kLanes * part); }
};
struct Q3_K : FormatBase<8, 1824, 3, 4, false, true, Aux::kSuperZero4x16>, SuperScales<Q3_K> {
  KV_INLINE void quants(const uint8_t* p, uint32_t b, uint32_t part, LQ* q) {
    bit_pairs(p + 352 + 192 * b + 4 * kLanes * part, q);
    or_bits<2>(p + 288 + 192 * b + 4 * kLanes * part, q);
  }
  KV_INLINE LF factor(const uint8_t* p, uint32_t s, uint32_t part) { return Q6_K::factor(p, s, part); }
};
/// Factors and minima are nibbles: sub-block s below, s + 8 above.
struct Q2_K : FormatBase<8, 1344, 2, 0, true, true, Aux::kSuperMinx16>, SuperScales<Q2_K> {
  KV_INLINE void quants(const uint8_t* p, uint32_t b, uint32_t part, LQ* q) {
    bit_pairs(p + 320 + 128 * b + 4 * kLanes * part, q);
  }
  KV_INLINE LF factor(const uint8_t* p, uint32_t s, uint32_t part) {
    return lf_nibble(p + 64 + 16 * (s % 8) + kLanes * part, s < 8 ? 0 : 4);
  }
  KV_INLINE void mins(const uint8_t* p, uint32_t part, LQ* m) {
    const LQ mask = lq_set(15);
    for (uint32_t i = 0; i < 2; ++i) {
      const LQ both = lq_load(p + 192 + 64 * i + 4 * kLanes * part);
      m[i] = lq_and(both, mask);
      m[i + 2] = lq_and(lq_right(both, 4), mask);
    }
  }
};

/// Nibbles that index a table of 16 values (stored plus the format's zero).
KV_INLINE void looked_up(const uint8_t* p, const uint8_t* table, LQ* q) {
  low_nibbles(p, q);
  const LQ entries = lq_table(table);
  KV_UNROLL
  for (uint32_t v = 0; v < 8; ++v) q[v] = lq_lookup(entries, q[v]);
}
alignas(16) constexpr uint8_t kIq4Values[16] = {1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241};
alignas(16) constexpr uint8_t kMxfp4Values[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};

struct IQ4_NL : FormatBase<1, 288, 8, 128, false, false, Aux::kZero128> {
  KV_INLINE void quants(const uint8_t* p, uint32_t, uint32_t part, LQ* q) { looked_up(p + 32 + 4 * kLanes * part, kIq4Values, q); }
  KV_INLINE LF scale(const uint8_t* p, uint32_t, uint32_t part) { return f16_rows(p, part); }
  KV_INLINE LF min(const uint8_t*, uint32_t, uint32_t) { return lf_zero(); }
};
struct IQ4_XS : FormatBase<8, 2208, 8, 128, false, false, Aux::kSuperZero128>, SuperScales<IQ4_XS> {
  KV_INLINE void quants(const uint8_t* p, uint32_t b, uint32_t part, LQ* q) {
    looked_up(p + 160 + 256 * b + 4 * kLanes * part, kIq4Values, q);
  }
  KV_INLINE LF factor(const uint8_t* p, uint32_t s, uint32_t part) { return Q6_K::factor(p, s, part); }
};
struct MXFP4 : FormatBase<1, 272, 5, 12, false, false, Aux::kZero12> {
  KV_INLINE void quants(const uint8_t* p, uint32_t, uint32_t part, LQ* q) { looked_up(p + 16 + 4 * kLanes * part, kMxfp4Values, q); }
  KV_INLINE LF scale(const uint8_t* p, uint32_t, uint32_t part) { return lf_load_e8m0_half(p + kLanes * part); }
  KV_INLINE LF min(const uint8_t*, uint32_t, uint32_t) { return lf_zero(); }
};

/// A block of a panel that expand_panel() wrote to scratch: 8-bit quants, then f32 scales (and minima) per 32 or 16. Its
/// tiles serve all formats with the same properties.
template <int Bits, int32_t Zero, bool Min, bool Halves, Aux Kind>
struct Expanded : FormatBase<1, 512 + 64 * (Halves ? 2 : 1) * (Min ? 2 : 1), Bits, Zero, Min, Halves, Kind> {
  KV_INLINE void quants(const uint8_t* p, uint32_t, uint32_t part, LQ* q) {
    KV_UNROLL
    for (uint32_t v = 0; v < 8; ++v) q[v] = lq_load(p + 64 * v + 4 * kLanes * part);
  }
  KV_INLINE LF scale(const uint8_t* p, uint32_t s, uint32_t part) { return floats(p, s, part); }
  KV_INLINE LF min(const uint8_t* p, uint32_t s, uint32_t part) { return floats(p, s + (Halves ? 2 : 1), part); }
  KV_INLINE LF floats(const uint8_t* p, uint32_t index, uint32_t part) {
    return lf_load(reinterpret_cast<const float*>(p + 512 + 64 * index) + kLanes * part);
  }
};

/// The same per 256 values for kSuper formats: quants, then f32 factors of all sub-blocks, d, and for minima dmin and mins.
template <int Bits, int32_t Zero, bool Min, bool Halves, Aux Kind>
struct ExpandedSuper : FormatBase<8, 4096 + 64 * (Halves ? 16 : 8) + 64 + (Min ? 64 + 64 * (Halves ? 4 : 2) : 0), Bits, Zero, Min, Halves, Kind> {
  static constexpr uint32_t kFactors = 4096, kD = kFactors + 64 * (Halves ? 16 : 8), kDmin = kD + 64, kMins = kDmin + 64;
  KV_INLINE void quants(const uint8_t* p, uint32_t b, uint32_t part, LQ* q) {
    KV_UNROLL
    for (uint32_t v = 0; v < 8; ++v) q[v] = lq_load(p + 512 * b + 64 * v + 4 * kLanes * part);
  }
  KV_INLINE LF floats(const uint8_t* p, uint32_t part) { return lf_load(reinterpret_cast<const float*>(p) + kLanes * part); }
  KV_INLINE LF factor(const uint8_t* p, uint32_t s, uint32_t part) { return floats(p + kFactors + 64 * s, part); }
  KV_INLINE LF d(const uint8_t* p, uint32_t part) { return floats(p + kD, part); }
  KV_INLINE LF dmin(const uint8_t* p, uint32_t part) { return floats(p + kDmin, part); }
  KV_INLINE void mins(const uint8_t* p, uint32_t part, LQ* m) {
    for (uint32_t i = 0; i < (Halves ? 4 : 2); ++i) m[i] = lq_load(p + kMins + 64 * i + 4 * kLanes * part);
  }
};

template <class W, bool Super>
struct ExpandedChoice {
  using Type = Expanded<W::kBits, W::kZero, W::kMin, W::kHalves, W::kAux>;
};
template <class W>
struct ExpandedChoice<W, true> {
  using Type = ExpandedSuper<W::kBits, W::kZero, W::kMin, W::kHalves, W::kAux>;
};
template <class W>
using ExpandedOf = typename ExpandedChoice<W, W::kSuper>::Type;

}  // namespace
}  // namespace kvasir::cpu::KVASIR_ISA
