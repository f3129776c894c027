// Decoders of the types whose codes go through a codebook or are ternary: IQ1-IQ4, TQ1, TQ2, MXFP4, NVFP4, Q1_0, Q2_0.
#include <bit>
#include <cmath>

#include "backends/reference/dequantise.h"
#include "backends/iq_tables.h"

namespace kvasir::detail {
namespace {

using Byte = const uint8_t*;

uint16_t word(Byte b) { return static_cast<uint16_t>(b[0] | (b[1] << 8)); }
uint32_t dword(Byte b) { return word(b) | (static_cast<uint32_t>(word(b + 2)) << 16); }
float half(Byte b) { return half_to_float(word(b)); }
float f(int value) { return static_cast<float>(value); }

/// Seven stored sign bits; the eighth makes their number even.
uint32_t eight_signs(uint32_t seven) { return seven | (static_cast<uint32_t>(std::popcount(seven) & 1) << 7); }
float sign(uint32_t signs, int i) { return ((signs >> i) & 1U) ? -1.0F : 1.0F; }

void eight_of_iq2(float* y, uint16_t point, uint32_t signs, float scale) {
  for (int i = 0; i < 8; ++i) y[i] = scale * f(iq::kIq2Levels[(point >> (2 * i)) & 3]) * sign(signs, i);
}

template <class Levels>
void eight_of_iq3(float* y, uint16_t first, uint16_t second, const Levels& levels, uint32_t signs, float scale) {
  for (int i = 0; i < 4; ++i) {
    y[i] = scale * f(levels[(first >> (3 * i)) & 7]) * sign(signs, i);
    y[i + 4] = scale * f(levels[(second >> (3 * i)) & 7]) * sign(signs, i + 4);
  }
}

void eight_of_iq1(float* y, uint16_t point, float delta, float scale) {
  for (int i = 0; i < 8; ++i) y[i] = scale * (f(iq::kIq1Levels[(point >> (2 * i)) & 3]) + delta);
}

float quarter_scale(float d, int code) { return d * (0.5F + f(code)) * 0.25F; }

void decode_iq2_xxs(Byte b, float* y) {
  const float d = half(b);
  for (int group = 0; group < 8; ++group, y += 32) {
    const Byte codes = b + 2 + 8 * group;
    const uint32_t rest = dword(codes + 4);
    const float scale = quarter_scale(d, static_cast<int>(rest >> 28));
    for (int l = 0; l < 4; ++l) {
      eight_of_iq2(y + 8 * l, iq::kIq2xxsGrid[codes[l]], eight_signs((rest >> (7 * l)) & 127U), scale);
    }
  }
}

void decode_iq2_xs(Byte b, float* y) {
  const float d = half(b);
  const Byte scales = b + 66;
  for (int l = 0; l < 32; ++l) {
    const uint32_t code = word(b + 2 + 2 * l);
    const float scale = quarter_scale(d, (scales[l / 4] >> (4 * ((l % 4) / 2))) & 15);
    eight_of_iq2(y + 8 * l, iq::kIq2xsGrid[code & 511U], eight_signs(code >> 9), scale);
  }
}

void decode_iq2_s(Byte b, float* y) {
  const float d = half(b);
  const Byte low = b + 2, signs = b + 34, high = b + 66, scales = b + 74;
  for (int l = 0; l < 32; ++l) {
    const int index = low[l] | (((high[l / 4] >> (2 * (l % 4))) & 3) << 8);
    const float scale = quarter_scale(d, (scales[l / 4] >> (4 * ((l % 4) / 2))) & 15);
    eight_of_iq2(y + 8 * l, iq::kIq2sGrid[static_cast<size_t>(index)], signs[l], scale);
  }
}

void decode_iq3_xxs(Byte b, float* y) {
  const float d = half(b);
  const Byte codes = b + 2;
  for (int group = 0; group < 8; ++group) {
    const uint32_t rest = dword(b + 66 + 4 * group);
    const float scale = d * (0.5F + f(static_cast<int>(rest >> 28))) * 0.5F;
    for (int l = 0; l < 4; ++l) {
      const Byte pair = codes + 8 * group + 2 * l;
      eight_of_iq3(y + 32 * group + 8 * l, iq::kIq3xxsGrid[pair[0]], iq::kIq3xxsGrid[pair[1]], iq::kIq3xxsLevels,
                   eight_signs((rest >> (7 * l)) & 127U), scale);
    }
  }
}

void decode_iq3_s(Byte b, float* y) {
  const float d = half(b);
  const Byte low = b + 2, high = b + 66, signs = b + 74, scales = b + 106;
  for (int l = 0; l < 32; ++l) {
    const int group = l / 4;
    const float scale = d * f(1 + 2 * ((scales[group / 2] >> (4 * (group % 2))) & 15));
    const auto index = [&](int i) {
      return static_cast<size_t>(low[i] | (((high[i / 8] >> (i % 8)) & 1) << 8));
    };
    eight_of_iq3(y + 8 * l, iq::kIq3sGrid[index(2 * l)], iq::kIq3sGrid[index(2 * l + 1)], iq::kIq3sLevels, signs[l],
                 scale);
  }
}

void decode_iq1_s(Byte b, float* y) {
  const float d = half(b);
  for (int group = 0; group < 8; ++group) {
    const int high = word(b + 34 + 2 * group);
    const float scale = d * f(2 * ((high >> 12) & 7) + 1);
    const float delta = (high & 0x8000) ? -iq::kIq1Delta : iq::kIq1Delta;
    for (int l = 0; l < 4; ++l) {
      const int index = b[2 + 4 * group + l] | (((high >> (3 * l)) & 7) << 8);
      eight_of_iq1(y + 32 * group + 8 * l, iq::kIq1Grid[static_cast<size_t>(index)], delta, scale);
    }
  }
}

void decode_iq1_m(Byte b, float* y) {
  const Byte low = b, high = b + 32, scales = b + 48;
  // The block scale is an F16 whose four nibbles are the top nibbles of the four scale words.
  int bits = 0;
  for (int i = 0; i < 4; ++i) bits |= (word(scales + 2 * i) >> 12) << (4 * i);
  const float d = half_to_float(static_cast<uint16_t>(bits));
  for (int l = 0; l < 32; ++l) {
    const int group = l / 4, half_group = (l % 4) / 2;
    const int code = word(scales + 2 * (group / 2)) >> (6 * (group % 2) + 3 * half_group);
    const int nibble = (high[l / 2] >> (4 * (l % 2))) & 15;
    const int index = low[l] | ((nibble & 7) << 8);
    eight_of_iq1(y + 8 * l, iq::kIq1Grid[static_cast<size_t>(index)], (nibble & 8) ? -iq::kIq1Delta : iq::kIq1Delta,
                 d * f(2 * (code & 7) + 1));
  }
}

template <class Levels>
void nibbles(Byte codes, int count, const Levels& levels, float scale, float* y) {
  for (int i = 0; i < count; ++i) {
    y[i] = scale * f(levels[codes[i] & 15]);
    y[i + count] = scale * f(levels[codes[i] >> 4]);
  }
}

void decode_iq4_xs(Byte b, float* y) {
  const float d = half(b);
  const int high = word(b + 2);
  for (int group = 0; group < 8; ++group) {
    const int low = (b[4 + group / 2] >> (4 * (group % 2))) & 15;
    const int scale = low | (((high >> (2 * group)) & 3) << 4);
    nibbles(b + 8 + 16 * group, 16, iq::kIq4Levels, d * f(scale - 32), y + 32 * group);
  }
}

/// Digit `n` (0 the most significant of five) of a byte that holds a base-3 fraction.
float ternary_digit(uint8_t code, int n) {
  int power = 1;
  for (int i = 0; i < n; ++i) power *= 3;
  const auto rest = static_cast<uint8_t>(code * power);
  return f(((rest * 3) >> 8) - 1);
}

void decode_tq1_0(Byte b, float* y) {
  const float d = half(b + 52);
  for (int n = 0; n < 5; ++n) {
    for (int i = 0; i < 32; ++i) y[32 * n + i] = ternary_digit(b[i], n) * d;
    for (int i = 0; i < 16; ++i) y[160 + 16 * n + i] = ternary_digit(b[32 + i], n) * d;
  }
  for (int n = 0; n < 4; ++n) {
    for (int i = 0; i < 4; ++i) y[240 + 4 * n + i] = ternary_digit(b[48 + i], n) * d;
  }
}

void decode_tq2_0(Byte b, float* y) {
  const float d = half(b + 64);
  for (int i = 0; i < 256; ++i) {
    y[i] = f(((b[32 * (i / 128) + i % 32] >> (2 * ((i % 128) / 32))) & 3) - 1) * d;
  }
}

/// 2^(exponent - 128): E8M0 halved, since the levels are doubled.
float e8m0_half(uint8_t exponent) { return std::ldexp(1.0F, static_cast<int>(exponent) - 128); }

/// Unsigned E4M3 halved; the NaN code counts as zero.
float ue4m3_half(uint8_t code) {
  if (code == 0x7F) return 0.0F;
  const int exponent = (code >> 3) & 15, mantissa = code & 7;
  const float value = exponent == 0 ? std::ldexp(f(mantissa), -9) : std::ldexp(f(8 + mantissa), exponent - 10);
  return value * 0.5F;
}

void decode_nvfp4(Byte b, float* y) {
  for (int group = 0; group < 4; ++group) {
    nibbles(b + 4 + 8 * group, 8, iq::kFp4Levels, ue4m3_half(b[group]), y + 16 * group);
  }
}

void decode_q1_0(Byte b, float* y) {
  const float d = half(b);
  for (int i = 0; i < 128; ++i) y[i] = ((b[2 + i / 8] >> (i % 8)) & 1) ? d : -d;
}

void decode_q2_0(Byte b, float* y) {
  const float d = half(b);
  for (int i = 0; i < 64; ++i) y[i] = f(((b[2 + i / 4] >> (2 * (i % 4))) & 3) - 1) * d;
}

}  // namespace

bool dequantise_codebook_block(TensorType type, const uint8_t* b, float* y) noexcept {
  switch (type) {
    case TensorType::kIQ2_XXS: decode_iq2_xxs(b, y); return true;
    case TensorType::kIQ2_XS: decode_iq2_xs(b, y); return true;
    case TensorType::kIQ2_S: decode_iq2_s(b, y); return true;
    case TensorType::kIQ3_XXS: decode_iq3_xxs(b, y); return true;
    case TensorType::kIQ3_S: decode_iq3_s(b, y); return true;
    case TensorType::kIQ1_S: decode_iq1_s(b, y); return true;
    case TensorType::kIQ1_M: decode_iq1_m(b, y); return true;
    case TensorType::kIQ4_NL: nibbles(b + 2, 16, iq::kIq4Levels, half(b), y); return true;
    case TensorType::kIQ4_XS: decode_iq4_xs(b, y); return true;
    case TensorType::kTQ1_0: decode_tq1_0(b, y); return true;
    case TensorType::kTQ2_0: decode_tq2_0(b, y); return true;
    case TensorType::kMXFP4: nibbles(b + 1, 16, iq::kFp4Levels, e8m0_half(b[0]), y); return true;
    case TensorType::kNVFP4: decode_nvfp4(b, y); return true;
    case TensorType::kQ1_0: decode_q1_0(b, y); return true;
    case TensorType::kQ2_0: decode_q2_0(b, y); return true;
    default: return false;
  }
}

}  // namespace kvasir::detail
