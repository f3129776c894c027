// Eight consecutive values of a row, of any stored type, in the same float operations as the reference decoders, so that
// dequantised values are equal bit for bit. The slow and general way; fast kernels have their own lanes (t16_dot.cuh).
#pragma once

#include "backends/cuda/kernels/simt.h"
#include "backends/cuda/kernels/stored_type.h"

namespace kvasir::cuda {

using Block = const uint8_t*;

KVASIR_DEVICE float as_f(int v) { return static_cast<float>(v); }
KVASIR_DEVICE int signed_byte(uint32_t word, int i) { return static_cast<int8_t>(word >> (8 * i) & 255U); }

/// Levels packed into words, since constant tables of the host are out of reach here.
KVASIR_DEVICE int iq4_level(uint32_t code) {
  const uint64_t low = 0xF6EADDCFBFAD9881ULL, high = 0x7159453526190D01ULL;
  return static_cast<int8_t>((code < 8 ? low : high) >> (8 * (code & 7U)) & 255U);
}
KVASIR_DEVICE int fp4_level(uint32_t code) {
  const uint64_t magnitudes = 0x0C08060403020100ULL;
  const int v = static_cast<int>(magnitudes >> (8 * (code & 7U)) & 255U);
  return (code & 8U) != 0 ? -v : v;
}
KVASIR_DEVICE int iq2_level(uint32_t code) { return static_cast<int>(0x002B1908U >> (8 * code) & 255U); }
KVASIR_DEVICE int iq3xxs_level(uint32_t code) {
  return static_cast<int>(0x3E342C241C140C04ULL >> (8 * code) & 255U);
}

/// Scale and minimum `j` (0-7) of the 12 bytes that Q4_K and Q5_K use.
KVASIR_DEVICE void scale_and_minimum(Block packed, uint32_t j, int& scale, int& minimum) {
  if (j < 4) {
    scale = packed[j] & 63;
    minimum = packed[j + 4] & 63;
  } else {
    scale = (packed[j + 4] & 15) | ((packed[j - 4] >> 6) << 4);
    minimum = (packed[j + 4] >> 4) | ((packed[j] >> 6) << 4);
  }
}

// ----------------------------------------------------------------------------- blocks of 32: values 8 g ... 8 g + 7

KVASIR_DEVICE int nibble32(Block codes, uint32_t g, int i) {
  const uint8_t byte = codes[(g & 1U) * 8 + static_cast<uint32_t>(i)];
  return g < 2 ? byte & 15 : byte >> 4;
}

KVASIR_DEVICE void decode_blocks_of_32(Stored type, Block b, uint32_t g, float* y) {
  KVASIR_UNROLL
  for (int i = 0; i < 8; ++i) {
    const auto at = static_cast<uint32_t>(i) + 8 * g;
    switch (type) {
      case Stored::kQ4_0: y[i] = as_f(nibble32(b + 2, g, i) - 8) * half_at(b); break;
      case Stored::kQ4_1: y[i] = as_f(nibble32(b + 4, g, i)) * half_at(b) + half_at(b + 2); break;
      case Stored::kQ5_0: y[i] = as_f((nibble32(b + 6, g, i) | static_cast<int>((word32(b + 2) >> at & 1U) << 4U)) - 16) * half_at(b); break;
      case Stored::kQ5_1: y[i] = as_f(nibble32(b + 8, g, i) | static_cast<int>((word32(b + 4) >> at & 1U) << 4U)) * half_at(b) + half_at(b + 2); break;
      case Stored::kQ8_0: y[i] = as_f(static_cast<int8_t>(b[2 + at])) * half_at(b); break;
      case Stored::kIQ4_NL: y[i] = half_at(b) * as_f(iq4_level(static_cast<uint32_t>(nibble32(b + 2, g, i)))); break;
      default: y[i] = ldexpf(1.0F, static_cast<int>(b[0]) - 128) * as_f(fp4_level(static_cast<uint32_t>(nibble32(b + 1, g, i)))); break;  // MXFP4
    }
  }
}

// ------------------------------------------------------------------------- K blocks of 256: values 8 g ... 8 g + 7

KVASIR_DEVICE void decode_q2_k(Block b, uint32_t g, float* y) {
  const uint32_t group = g / 2;
  const float scale = half_at(b + 80) * as_f(b[group] & 15), minimum = half_at(b + 82) * as_f(b[group] >> 4);
  KVASIR_UNROLL
  for (uint32_t i = 0; i < 8; ++i) {
    const uint32_t at = 8 * g + i;
    y[i] = scale * as_f((b[16 + 32 * (at / 128) + at % 32] >> (2 * (at % 128 / 32))) & 3) - minimum;
  }
}
KVASIR_DEVICE void decode_q3_k(Block b, uint32_t g, float* y) {
  const uint32_t group = g / 2;
  const Block packed = b + 96;
  const int low = group < 8 ? packed[group] & 15 : packed[group - 8] >> 4;
  const int scale = (low | (((packed[8 + group % 4] >> (2 * (group / 4))) & 3) << 4)) - 32;
  const float d = half_at(b + 108) * as_f(scale);
  KVASIR_UNROLL
  for (uint32_t i = 0; i < 8; ++i) {
    const uint32_t at = 8 * g + i;
    const int two = (b[32 + 32 * (at / 128) + at % 32] >> (2 * (at % 128 / 32))) & 3;
    y[i] = d * as_f(two - (((b[at % 32] >> (at / 32)) & 1) != 0 ? 0 : 4));
  }
}
KVASIR_DEVICE void decode_q4_or_q5_k(Block b, uint32_t g, bool five, float* y) {
  const uint32_t j = g / 4;
  int scale, minimum;
  scale_and_minimum(b + 4, j, scale, minimum);
  const float ds = half_at(b) * as_f(scale), dm = half_at(b + 2) * as_f(minimum);
  const Block quants = b + (five ? 48 : 16);
  KVASIR_UNROLL
  for (uint32_t i = 0; i < 8; ++i) {
    const uint32_t in = 8 * (g % 4) + i;
    int q = (quants[32 * (j / 2) + in] >> (4 * (j % 2))) & 15;
    if (five) q += ((b[16 + in] >> j) & 1) << 4;
    y[i] = ds * as_f(q) - dm;
  }
}
KVASIR_DEVICE void decode_q6_k(Block b, uint32_t g, float* y) {
  const float d = half_at(b + 208) * as_f(static_cast<int8_t>(b[192 + g / 2]));
  KVASIR_UNROLL
  for (uint32_t i = 0; i < 8; ++i) {
    const uint32_t at = 8 * g + i, part = at % 128 / 32;
    const int nibble = (b[64 * (at / 128) + 32 * (part % 2) + at % 32] >> (4 * (part / 2))) & 15;
    const int two = (b[128 + 32 * (at / 128) + at % 32] >> (2 * part)) & 3;
    y[i] = d * as_f((nibble | (two << 4)) - 32);
  }
}

// ---------------------------------------------------------------------------------- codebooks and ternary, of 256

KVASIR_DEVICE uint32_t eight_signs(uint32_t seven) {
  uint32_t parity = seven ^ (seven >> 4U);
  parity ^= parity >> 2U;
  parity ^= parity >> 1U;
  return seven | (parity & 1U) << 7U;
}
KVASIR_DEVICE float signed_one(uint32_t signs, int i) { return (signs >> i & 1U) != 0 ? -1.0F : 1.0F; }
KVASIR_DEVICE float quarter_scale(float d, int code) { return d * (0.5F + as_f(code)) * 0.25F; }

KVASIR_DEVICE void eight_of_iq2(uint32_t point, uint32_t signs, float scale, float* y) {
  KVASIR_UNROLL
  for (int i = 0; i < 8; ++i) y[i] = scale * as_f(iq2_level(point >> (2 * i) & 3U)) * signed_one(signs, i);
}
KVASIR_DEVICE void eight_of_iq3(uint32_t first, uint32_t second, bool xxs, uint32_t signs, float scale, float* y) {
  KVASIR_UNROLL
  for (int i = 0; i < 8; ++i) {
    const uint32_t code = (i < 4 ? first >> (3 * i) : second >> (3 * (i - 4))) & 7U;
    y[i] = scale * as_f(xxs ? iq3xxs_level(code) : static_cast<int>(2 * code + 1)) * signed_one(signs, i);
  }
}
KVASIR_DEVICE void eight_of_iq1(uint32_t point, bool down, float scale, float* y) {
  KVASIR_UNROLL
  for (int i = 0; i < 8; ++i) y[i] = scale * (as_f(static_cast<int>(point >> (2 * i) & 3U) - 1) + (down ? -0.125F : 0.125F));
}

KVASIR_DEVICE void decode_iq2(Stored type, Block b, const uint16_t* books, uint32_t g, float* y) {
  const float d = half_at(b);
  if (type == Stored::kIQ2_XXS) {
    const Block codes = b + 2 + 8 * (g / 4);
    const uint32_t rest = word32(codes + 4);
    return eight_of_iq2(books[Codebooks::kIq2xxs + codes[g % 4]], eight_signs(rest >> (7 * (g % 4)) & 127U),
                        quarter_scale(d, static_cast<int>(rest >> 28U)), y);
  }
  if (type == Stored::kIQ2_XS) {
    const uint32_t code = word16(b + 2 + 2 * g);
    return eight_of_iq2(books[Codebooks::kIq2xs + (code & 511U)], eight_signs(code >> 9U),
                        quarter_scale(d, (b[66 + g / 4] >> (4 * (g % 4 / 2))) & 15), y);
  }
  const uint32_t index = b[2 + g] | ((b[66 + g / 4] >> (2 * (g % 4))) & 3U) << 8U;
  eight_of_iq2(books[Codebooks::kIq2s + index], b[34 + g], quarter_scale(d, (b[74 + g / 4] >> (4 * (g % 4 / 2))) & 15), y);
}
KVASIR_DEVICE void decode_iq3(Stored type, Block b, const uint16_t* books, uint32_t g, float* y) {
  const float d = half_at(b);
  if (type == Stored::kIQ3_XXS) {
    const uint32_t rest = word32(b + 66 + 4 * (g / 4));
    const float scale = d * (0.5F + as_f(static_cast<int>(rest >> 28U))) * 0.5F;
    const Block pair = b + 2 + 2 * g;
    return eight_of_iq3(books[Codebooks::kIq3xxs + pair[0]], books[Codebooks::kIq3xxs + pair[1]], true,
                        eight_signs(rest >> (7 * (g % 4)) & 127U), scale, y);
  }
  const uint32_t group = g / 4;
  const float scale = d * as_f(1 + 2 * ((b[106 + group / 2] >> (4 * (group % 2))) & 15));
  const uint32_t first = b[2 + 2 * g] | ((b[66 + 2 * g / 8] >> (2 * g % 8)) & 1U) << 8U;
  const uint32_t second = b[3 + 2 * g] | ((b[66 + (2 * g + 1) / 8] >> ((2 * g + 1) % 8)) & 1U) << 8U;
  eight_of_iq3(books[Codebooks::kIq3s + first], books[Codebooks::kIq3s + second], false, b[74 + g], scale, y);
}
KVASIR_DEVICE void decode_iq1(Stored type, Block b, const uint16_t* books, uint32_t g, float* y) {
  const uint32_t group = g / 4;
  if (type == Stored::kIQ1_S) {
    const uint32_t high = word16(b + 34 + 2 * group);
    const float scale = half_at(b) * as_f(static_cast<int>(2 * (high >> 12U & 7U) + 1));
    const uint32_t index = b[2 + g] | (high >> (3 * (g % 4)) & 7U) << 8U;
    return eight_of_iq1(books[Codebooks::kIq1 + index], (high & 0x8000U) != 0, scale, y);
  }
  const Block scales = b + 48;
  uint32_t bits = 0;
  KVASIR_UNROLL
  for (uint32_t i = 0; i < 4; ++i) bits |= (word16(scales + 2 * i) >> 12U) << (4 * i);
  const uint32_t code = word16(scales + 2 * (group / 2)) >> (6 * (group % 2) + 3 * (g % 4 / 2));
  const uint32_t nibble = (b[32 + g / 2] >> (4 * (g % 2))) & 15U;
  eight_of_iq1(books[Codebooks::kIq1 + (b[g] | (nibble & 7U) << 8U)], (nibble & 8U) != 0,
               half_value(static_cast<uint16_t>(bits)) * as_f(static_cast<int>(2 * (code & 7U) + 1)), y);
}
KVASIR_DEVICE void decode_iq4_xs(Block b, uint32_t g, float* y) {
  const uint32_t group = g / 4;
  const int low = (b[4 + group / 2] >> (4 * (group % 2))) & 15;
  const int scale = low | static_cast<int>((word16(b + 2) >> (2 * group) & 3U) << 4U);
  const float d = half_at(b) * as_f(scale - 32);
  KVASIR_UNROLL
  for (int i = 0; i < 8; ++i) y[i] = d * as_f(iq4_level(static_cast<uint32_t>(nibble32(b + 8 + 16 * group, g % 4, i))));
}
KVASIR_DEVICE float ternary_digit(uint32_t code, uint32_t n) {
  const uint32_t power = n == 0 ? 1 : n == 1 ? 3 : n == 2 ? 9 : n == 3 ? 27 : 81;
  return as_f(static_cast<int>(((code * power & 255U) * 3) >> 8U) - 1);
}
KVASIR_DEVICE void decode_tq(Stored type, Block b, uint32_t g, float* y) {
  KVASIR_UNROLL
  for (uint32_t i = 0; i < 8; ++i) {
    const uint32_t at = 8 * g + i;
    if (type == Stored::kTQ2_0) {
      y[i] = as_f(((b[32 * (at / 128) + at % 32] >> (2 * (at % 128 / 32))) & 3) - 1) * half_at(b + 64);
    } else if (at < 160) {
      y[i] = ternary_digit(b[at % 32], at / 32) * half_at(b + 52);
    } else if (at < 240) {
      y[i] = ternary_digit(b[32 + at % 16], (at - 160) / 16) * half_at(b + 52);
    } else {
      y[i] = ternary_digit(b[48 + at % 4], (at - 240) / 4) * half_at(b + 52);
    }
  }
}

/// Unsigned E4M3 halved; the NaN code counts as zero.
KVASIR_DEVICE float ue4m3_half(uint32_t code) {
  if (code == 0x7FU) return 0.0F;
  const int exponent = static_cast<int>(code >> 3U & 15U), mantissa = static_cast<int>(code & 7U);
  return (exponent == 0 ? ldexpf(as_f(mantissa), -9) : ldexpf(as_f(8 + mantissa), exponent - 10)) * 0.5F;
}
/// NVFP4 (64 values), Q2_0 (64), Q1_0 (128).
KVASIR_DEVICE void decode_small_blocks(Stored type, Block b, uint32_t g, float* y) {
  KVASIR_UNROLL
  for (uint32_t i = 0; i < 8; ++i) {
    const uint32_t at = 8 * g + i;
    if (type == Stored::kNVFP4) {
      const uint32_t byte = b[4 + 8 * (g / 2) + i];
      y[i] = ue4m3_half(b[g / 2]) * as_f(fp4_level(g % 2 == 0 ? byte & 15U : byte >> 4U));
    } else if (type == Stored::kQ1_0) {
      y[i] = ((b[2 + at / 8] >> (at % 8)) & 1) != 0 ? half_at(b) : -half_at(b);
    } else {
      y[i] = as_f(((b[2 + at / 4] >> (2 * (at % 4))) & 3) - 1) * half_at(b);
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------- T16

/// Scale (bits 0-5) and minimum (6-11) of sub-block j, from a row's 16 bytes.
KVASIR_DEVICE uint32_t t16_scale_pair(const Bytes16& s, uint32_t j) {
  const uint64_t field = (j & 1U) != 0 ? (s.z | static_cast<uint64_t>(s.w >> 16U) << 32U) : (s.y | static_cast<uint64_t>(s.w & 0xFFFFU) << 32U);
  return static_cast<uint32_t>(field >> (12 * (j / 2))) & 0xFFFU;
}

/// Group g (8 values) of row r of a tile.
KVASIR_DEVICE void decode_t16(Stored type, Block tile, uint32_t cols, uint32_t r, uint32_t g, float* y) {
  const uint32_t record = g / 32, j = g % 32 / 4, in = g % 4;
  const uint32_t left = cols / 32 - record * 8, subs = left < 8 ? left : 8;
  const Block rec = tile + static_cast<uint64_t>(record) * record_bytes(type, 8);
  if (type == Stored::kT16Q8_0) {
    const Block q = rec + (2 * j + in / 2) * 256 + r * 16 + in % 2 * 8;
    const float d = half_at(rec + subs * 512 + j * 32 + r * 2);
    KVASIR_UNROLL
    for (int i = 0; i < 8; ++i) y[i] = as_f(static_cast<int8_t>(q[i])) * d;
    return;
  }
  const uint32_t w = word32(rec + j * 256 + r * 16 + in * 4);
  int q[8];
  KVASIR_UNROLL
  for (int i = 0; i < 4; ++i) {
    q[i] = static_cast<int>(w >> (8 * i) & 15U);
    q[i + 4] = static_cast<int>(w >> (8 * i + 4) & 15U);
  }
  if (type == Stored::kT16Q4_0) {
    const float d = half_at(rec + subs * 256 + j * 32 + r * 2);
    KVASIR_UNROLL
    for (int i = 0; i < 8; ++i) y[i] = as_f(q[i] - 8) * d;
  } else if (type == Stored::kT16Q4_1) {
    const float d = half_at(rec + subs * 256 + j * 64 + r * 4), m = half_at(rec + subs * 256 + j * 64 + r * 4 + 2);
    KVASIR_UNROLL
    for (int i = 0; i < 8; ++i) y[i] = as_f(q[i]) * d + m;
  } else if (type == Stored::kT16Q6_K) {
    const Block high = rec + 2048 + j / 2 * 256 + r * 16 + j % 2 * 8 + in / 2 * 4;
    const float d = half_at(rec + 3328 + 2 * r) * as_f(static_cast<int8_t>(rec[3072 + r * 16 + 2 * j + in / 2]));
    KVASIR_UNROLL
    for (uint32_t i = 0; i < 8; ++i) {
      const uint32_t quad = in % 2 * 2 + i / 4;
      y[i] = d * as_f((q[i] | (high[i % 4] >> (2 * quad) & 3) << 4) - 32);
    }
  } else {
    const Block at = rec + 2048 + r * 16;
    const Bytes16 s{word32(at), word32(at + 4), word32(at + 8), word32(at + 12)};
    const uint32_t pair = t16_scale_pair(s, j);
    const float ds = half_value(static_cast<uint16_t>(s.x & 0xFFFFU)) * as_f(static_cast<int>(pair & 63U));
    const float dm = half_value(static_cast<uint16_t>(s.x >> 16U)) * as_f(static_cast<int>(pair >> 6U));
    const uint32_t fifth = type == Stored::kT16Q5_K ? word32(rec + 2304 + j * 64 + r * 4) : 0;
    KVASIR_UNROLL
    for (uint32_t i = 0; i < 8; ++i) {
      const uint32_t quad = 2 * in + i / 4;
      y[i] = ds * as_f(q[i] + static_cast<int>((fifth >> (8 * (i % 4) + quad) & 1U) << 4U)) - dm;
    }
  }
}

// ------------------------------------------------------------------------------------------------------- any of them

/// Block geometry: values and bytes of one block of a raw type.
KVASIR_DEVICE void block_geometry(Stored type, uint32_t& values, uint32_t& bytes) {
  switch (type) {
    case Stored::kQ4_0: case Stored::kIQ4_NL: values = 32; bytes = 18; return;
    case Stored::kQ4_1: values = 32; bytes = 20; return;
    case Stored::kQ5_0: values = 32; bytes = 22; return;
    case Stored::kQ5_1: values = 32; bytes = 24; return;
    case Stored::kQ8_0: values = 32; bytes = 34; return;
    case Stored::kMXFP4: values = 32; bytes = 17; return;
    case Stored::kQ2_K: values = 256; bytes = 84; return;
    case Stored::kQ3_K: case Stored::kIQ3_S: values = 256; bytes = 110; return;
    case Stored::kQ4_K: values = 256; bytes = 144; return;
    case Stored::kQ5_K: values = 256; bytes = 176; return;
    case Stored::kQ6_K: values = 256; bytes = 210; return;
    case Stored::kIQ2_XXS: case Stored::kTQ2_0: values = 256; bytes = 66; return;
    case Stored::kIQ2_XS: values = 256; bytes = 74; return;
    case Stored::kIQ3_XXS: values = 256; bytes = 98; return;
    case Stored::kIQ1_S: values = 256; bytes = 50; return;
    case Stored::kIQ2_S: values = 256; bytes = 82; return;
    case Stored::kIQ4_XS: values = 256; bytes = 136; return;
    case Stored::kIQ1_M: values = 256; bytes = 56; return;
    case Stored::kTQ1_0: values = 256; bytes = 54; return;
    case Stored::kNVFP4: values = 64; bytes = 36; return;
    case Stored::kQ1_0: values = 128; bytes = 18; return;
    case Stored::kQ2_0: values = 64; bytes = 18; return;
    case Stored::kF32: values = 1; bytes = 4; return;
    default: values = 1; bytes = 2; return;
  }
}

KVASIR_DEVICE void decode_floats(Stored type, Block row, uint32_t cols, uint32_t first, float* y) {
  KVASIR_UNROLL
  for (uint32_t i = 0; i < 8; ++i) {
    const uint32_t at = first + i;
    if (at >= cols) y[i] = 0.0F;
    else if (type == Stored::kF32) y[i] = reinterpret_cast<const float*>(row)[at];
    else if (type == Stored::kF16) y[i] = half_value(reinterpret_cast<const uint16_t*>(row)[at]);
    else y[i] = bfloat_value(reinterpret_cast<const uint16_t*>(row)[at]);
  }
}

/// Values 8 g ... 8 g + 7 of row `row` of expert `expert`; values after the last column are zero.
KVASIR_DEVICE void decode_eight(const WeightView& w, uint32_t expert, uint32_t row, uint32_t g, float* y) {
  const Block base = w.data + expert * w.expert_bytes;
  if (is_t16(w.type)) return decode_t16(w.type, base + row / kTileRows * w.row_bytes, w.cols, row % kTileRows, g, y);
  const Block at = base + row * w.row_bytes;
  uint32_t values, bytes;
  block_geometry(w.type, values, bytes);
  if (values == 1) return decode_floats(w.type, at, w.cols, 8 * g, y);
  const Block block = at + static_cast<uint64_t>(8 * g / values) * bytes;
  const uint32_t in = g % (values / 8);
  if (values == 32) return decode_blocks_of_32(w.type, block, in, y);
  switch (w.type) {
    case Stored::kQ2_K: return decode_q2_k(block, in, y);
    case Stored::kQ3_K: return decode_q3_k(block, in, y);
    case Stored::kQ4_K: return decode_q4_or_q5_k(block, in, false, y);
    case Stored::kQ5_K: return decode_q4_or_q5_k(block, in, true, y);
    case Stored::kQ6_K: return decode_q6_k(block, in, y);
    case Stored::kIQ2_XXS: case Stored::kIQ2_XS: case Stored::kIQ2_S: return decode_iq2(w.type, block, w.codebooks, in, y);
    case Stored::kIQ3_XXS: case Stored::kIQ3_S: return decode_iq3(w.type, block, w.codebooks, in, y);
    case Stored::kIQ1_S: case Stored::kIQ1_M: return decode_iq1(w.type, block, w.codebooks, in, y);
    case Stored::kIQ4_XS: return decode_iq4_xs(block, in, y);
    case Stored::kTQ1_0: case Stored::kTQ2_0: return decode_tq(w.type, block, in, y);
    default: return decode_small_blocks(w.type, block, in, y);
  }
}

}  // namespace kvasir::cuda
