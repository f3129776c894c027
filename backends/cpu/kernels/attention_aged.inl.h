// Aged pages (backend.h) back to f32 for attention.inl.h: x = scale * q + least by one fma. Of key channels d and
// k_dim - 1 - d one may have a fifth bit: its scales are marked by their signs, and a bit per slot stands behind the leasts.
#pragma once

namespace kvasir::cpu::KVASIR_ISA {
namespace {

KV_INLINE bool is_fine(const uint8_t* scales, uint64_t index) { return (scales[2 * index + 1] & 0x80U) != 0; }

KV_INLINE F same_half(const uint8_t* halves, uint64_t index, uint16_t mask = 0xFFFF) {
  uint16_t bits;
  __builtin_memcpy(&bits, halves + 2 * index, sizeof bits);
  bits = static_cast<uint16_t>(bits & mask);
  uint16_t same[16];
  for (uint16_t& lane : same) lane = bits;
  return f_load_f16(same);
}

/// Bit i of `bits` as 16 in q[i]: in byte i of a word only bit i stays, and 127 more carries it to the top.
KV_INLINE void add_fifths(uint8_t bits, int8_t* q) {
  uint64_t eight;
  __builtin_memcpy(&eight, q, sizeof eight);
  const uint64_t own = bits * 0x0101010101010101U & 0x8040201008040201U;
  eight |= (own + 0x7F7F7F7F7F7F7F7FU) >> 3 & 0x1010101010101010U;
  __builtin_memcpy(q, &eight, sizeof eight);
}

/// K as f32 [k_dim][64].
KV_INLINE void widen_aged_keys(const KvHeadLayout& layout, const uint8_t* head, float* keys) {
  const uint8_t* all_fifths = head + layout.aged_k_leasts + 4 * uint64_t{layout.k_dim};
  for (uint32_t d = 0; d < layout.k_dim; ++d) {
    int8_t q[kPageRows];
    for (uint32_t b = 0; b < 32; ++b) {
      q[b] = static_cast<int8_t>(head[32 * d + b] & 15U);
      q[32 + b] = static_cast<int8_t>(head[32 * d + b] >> 4);
    }
    if (is_fine(head + layout.aged_k_scales, 2 * uint64_t{d})) {
      const uint32_t other = layout.k_dim - 1 - d;
      const uint8_t* fifths = all_fifths + 8 * uint64_t{d < other ? d : other};
      for (uint32_t j = 0; j < kPageRows; j += 8) add_fifths(fifths[j / 8], q + j);
    }
    for (uint32_t j = 0; j < kPageRows; j += 16) {
      const F scale = same_half(head + layout.aged_k_scales, 2 * uint64_t{d} + j / 32, 0x7FFF);
      const F least = same_half(head + layout.aged_k_leasts, 2 * uint64_t{d} + j / 32);
      f_store(keys + kPageRows * d + j, f_fma(f_load_i8(q + j), scale, least));
    }
  }
}

/// V of the first `rows` rows as f32 [rows][v_stride].
KV_INLINE void widen_aged_values(const KvHeadLayout& layout, const uint8_t* head, uint32_t rows, float* values) {
  const uint32_t groups = (layout.v_dim + 31) / 32;
  for (uint32_t j = 0; j < rows; ++j) {
    for (uint32_t d = 0; d < layout.v_stride; d += 16) {
      const uint64_t group = uint64_t{j} * groups + d / 32;
      const uint8_t* packed = head + layout.aged_v + 16 * group;
      int8_t q[16];
      for (uint32_t i = 0; i < 16; ++i) {
        q[i] = static_cast<int8_t>(d % 32 == 0 ? packed[i] & 15U : packed[i] >> 4);
      }
      const F scale = same_half(head + layout.aged_v_scales, group);
      const F least = same_half(head + layout.aged_v_leasts, group);
      f_store(values + layout.v_stride * j + d, f_fma(f_load_i8(q), scale, least));
    }
  }
}

}  // namespace
}  // namespace kvasir::cpu::KVASIR_ISA
