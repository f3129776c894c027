// The packed weight formats, one struct each: how to get the 8-bit quants and the scales of 16 rows out of a packed
// block (pack.cpp writes them; format.h has the sizes). All are read as w = scale * (q - zero) or w = scale * q + min
// per 32 values, or per 16 where kHalves. A new format needs one struct here, its packer, and a row in format.h.
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

/// K-quants: d and dmin as f16[16], then per sub-block the factors of 16 rows, then per 32 values all bit planes: one
/// stream in memory (planes in regions of their own cost half of the bandwidth: prefetchers lose them).
struct Q4_K : FormatBase<8, 2368, 4, 0, true, false, Aux::kMin> {
  KV_INLINE void quants(const uint8_t* p, uint32_t b, uint32_t part, LQ* q) {
    low_nibbles(p + 320 + 256 * b + 4 * kLanes * part, q);
  }
  KV_INLINE LF scale(const uint8_t* p, uint32_t s, uint32_t part) {
    return lf_mul(f16_rows(p, part), lf_load_u8(p + 64 + 16 * s + kLanes * part));
  }
  KV_INLINE LF min(const uint8_t* p, uint32_t s, uint32_t part) {
    return lf_mul(lf_neg(f16_rows(p + 32, part)), lf_load_u8(p + 192 + 16 * s + kLanes * part));
  }
};
struct Q5_K : FormatBase<8, 2880, 5, 0, true, false, Aux::kMin> {
  KV_INLINE void quants(const uint8_t* p, uint32_t b, uint32_t part, LQ* q) {
    low_nibbles(p + 384 + 320 * b + 4 * kLanes * part, q);
    or_bits<4>(p + 320 + 320 * b + 4 * kLanes * part, q);
  }
  KV_INLINE LF scale(const uint8_t* p, uint32_t s, uint32_t part) { return Q4_K::scale(p, s, part); }
  KV_INLINE LF min(const uint8_t* p, uint32_t s, uint32_t part) { return Q4_K::min(p, s, part); }
};
struct Q6_K : FormatBase<8, 3360, 6, 32, false, true, Aux::kZero32x16> {
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
  KV_INLINE LF scale(const uint8_t* p, uint32_t s, uint32_t part) {
    return lf_mul(f16_rows(p, part), lf_load_i8(p + 32 + 16 * s + kLanes * part));
  }
  KV_INLINE LF min(const uint8_t*, uint32_t, uint32_t) { return lf_zero(); }
};
struct Q3_K : FormatBase<8, 1824, 3, 4, false, true, Aux::kZero4x16> {
  KV_INLINE void quants(const uint8_t* p, uint32_t b, uint32_t part, LQ* q) {
    bit_pairs(p + 352 + 192 * b + 4 * kLanes * part, q);
    or_bits<2>(p + 288 + 192 * b + 4 * kLanes * part, q);
  }
  KV_INLINE LF scale(const uint8_t* p, uint32_t s, uint32_t part) { return Q6_K::scale(p, s, part); }
  KV_INLINE LF min(const uint8_t*, uint32_t, uint32_t) { return lf_zero(); }
};
struct Q2_K : FormatBase<8, 1344, 2, 0, true, true, Aux::kMinx16> {
  KV_INLINE void quants(const uint8_t* p, uint32_t b, uint32_t part, LQ* q) {
    bit_pairs(p + 320 + 128 * b + 4 * kLanes * part, q);
  }
  /// The file's byte: scale in the low, minimum in the high nibble.
  KV_INLINE LF scale(const uint8_t* p, uint32_t s, uint32_t part) {
    return lf_mul(f16_rows(p, part), lf_nibble(p + 64 + 16 * s + kLanes * part, 0));
  }
  KV_INLINE LF min(const uint8_t* p, uint32_t s, uint32_t part) {
    return lf_mul(lf_neg(f16_rows(p + 32, part)), lf_nibble(p + 64 + 16 * s + kLanes * part, 4));
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
struct IQ4_XS : FormatBase<8, 2208, 8, 128, false, false, Aux::kZero128> {
  KV_INLINE void quants(const uint8_t* p, uint32_t b, uint32_t part, LQ* q) {
    looked_up(p + 160 + 256 * b + 4 * kLanes * part, kIq4Values, q);
  }
  KV_INLINE LF scale(const uint8_t* p, uint32_t s, uint32_t part) { return Q6_K::scale(p, s, part); }
  KV_INLINE LF min(const uint8_t*, uint32_t, uint32_t) { return lf_zero(); }
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
template <class W>
using ExpandedOf = Expanded<W::kBits, W::kZero, W::kMin, W::kHalves, W::kAux>;

}  // namespace
}  // namespace kvasir::cpu::KVASIR_ISA
