#include "backends/reference/dequantise.h"

#include <bit>
#include <cmath>
#include <cstring>

namespace kvasir {
namespace {

using Byte = const uint8_t*;

uint16_t word(Byte b) { return static_cast<uint16_t>(b[0] | (b[1] << 8)); }
uint32_t dword(Byte b) { return word(b) | (static_cast<uint32_t>(word(b + 2)) << 16); }
float half(Byte b) { return half_to_float(word(b)); }
float f(int value) { return static_cast<float>(value); }

void decode_q4_0(Byte b, float* y) {
  const float d = half(b);
  for (int i = 0; i < 16; ++i) {
    y[i] = f((b[2 + i] & 15) - 8) * d;
    y[i + 16] = f((b[2 + i] >> 4) - 8) * d;
  }
}

void decode_q4_1(Byte b, float* y) {
  const float d = half(b), m = half(b + 2);
  for (int i = 0; i < 16; ++i) {
    y[i] = f(b[4 + i] & 15) * d + m;
    y[i + 16] = f(b[4 + i] >> 4) * d + m;
  }
}

/// The fifth bits of Q5_0 and Q5_1 lie in one 32-bit word, value i at bit i.
int fifth_bit(uint32_t high, int i) { return static_cast<int>((high >> i) & 1U) << 4; }

void decode_q5_0(Byte b, float* y) {
  const float d = half(b);
  const uint32_t high = dword(b + 2);
  for (int i = 0; i < 16; ++i) {
    y[i] = f(((b[6 + i] & 15) | fifth_bit(high, i)) - 16) * d;
    y[i + 16] = f(((b[6 + i] >> 4) | fifth_bit(high, i + 16)) - 16) * d;
  }
}

void decode_q5_1(Byte b, float* y) {
  const float d = half(b), m = half(b + 2);
  const uint32_t high = dword(b + 4);
  for (int i = 0; i < 16; ++i) {
    y[i] = f((b[8 + i] & 15) | fifth_bit(high, i)) * d + m;
    y[i + 16] = f((b[8 + i] >> 4) | fifth_bit(high, i + 16)) * d + m;
  }
}

void decode_q8_0(Byte b, float* y) {
  const float d = half(b);
  for (int i = 0; i < 32; ++i) y[i] = f(static_cast<int8_t>(b[2 + i])) * d;
}

void decode_q2_k(Byte b, float* y) {
  const Byte scales = b, quants = b + 16;
  const float d = half(b + 80), m = half(b + 82);
  for (int i = 0; i < 256; ++i) {
    const int group = i / 16;
    const int q = (quants[32 * (i / 128) + i % 32] >> (2 * ((i % 128) / 32))) & 3;
    const float scale = d * f(scales[group] & 15), minimum = m * f(scales[group] >> 4);
    y[i] = scale * f(q) - minimum;
  }
}

void decode_q3_k(Byte b, float* y) {
  const Byte high = b, quants = b + 32, packed = b + 96;
  const float d = half(b + 108);
  for (int i = 0; i < 256; ++i) {
    const int group = i / 16;
    // 16 scales of 6 bits: low nibbles in bytes 0-7, upper two bits in bytes 8-11.
    const int low = (group < 8) ? packed[group] & 15 : packed[group - 8] >> 4;
    const int scale = (low | (((packed[8 + group % 4] >> (2 * (group / 4))) & 3) << 4)) - 32;
    const int two = (quants[32 * (i / 128) + i % 32] >> (2 * ((i % 128) / 32))) & 3;
    const int one = (high[i % 32] >> (i / 32)) & 1;
    y[i] = d * f(scale) * f(two - (one ? 0 : 4));
  }
}

/// Scale and minimum `j` (0-7) of the 12 bytes that Q4_K and Q5_K use: 6 bits each.
void scale_and_minimum(Byte packed, int j, int& scale, int& minimum) {
  if (j < 4) {
    scale = packed[j] & 63;
    minimum = packed[j + 4] & 63;
  } else {
    scale = (packed[j + 4] & 15) | ((packed[j - 4] >> 6) << 4);
    minimum = (packed[j + 4] >> 4) | ((packed[j] >> 6) << 4);
  }
}

void decode_q4_k(Byte b, float* y) {
  const float d = half(b), m = half(b + 2);
  const Byte quants = b + 16;
  for (int j = 0; j < 8; ++j) {
    int scale = 0, minimum = 0;
    scale_and_minimum(b + 4, j, scale, minimum);
    const float ds = d * f(scale), dm = m * f(minimum);
    for (int i = 0; i < 32; ++i) {
      y[32 * j + i] = ds * f((quants[32 * (j / 2) + i] >> (4 * (j % 2))) & 15) - dm;
    }
  }
}

void decode_q5_k(Byte b, float* y) {
  const float d = half(b), m = half(b + 2);
  const Byte high = b + 16, quants = b + 48;
  for (int j = 0; j < 8; ++j) {
    int scale = 0, minimum = 0;
    scale_and_minimum(b + 4, j, scale, minimum);
    const float ds = d * f(scale), dm = m * f(minimum);
    for (int i = 0; i < 32; ++i) {
      const int low = (quants[32 * (j / 2) + i] >> (4 * (j % 2))) & 15;
      y[32 * j + i] = ds * f(low + (((high[i] >> j) & 1) << 4)) - dm;
    }
  }
}

void decode_q6_k(Byte b, float* y) {
  const Byte low = b, high = b + 128, scales = b + 192;
  const float d = half(b + 208);
  for (int i = 0; i < 256; ++i) {
    const int part = (i % 128) / 32;  // four runs of 32 values share 64 low bytes and 32 high bytes
    const int nibble = (low[64 * (i / 128) + 32 * (part % 2) + i % 32] >> (4 * (part / 2))) & 15;
    const int two = (high[32 * (i / 128) + i % 32] >> (2 * part)) & 3;
    y[i] = d * f(static_cast<int8_t>(scales[i / 16])) * f((nibble | (two << 4)) - 32);
  }
}

void decode_block(TensorType type, Byte b, float* y) {
  switch (type) {
    case TensorType::kF32: *y = std::bit_cast<float>(dword(b)); return;
    case TensorType::kF16: *y = half(b); return;
    case TensorType::kBF16: *y = bfloat_to_float(word(b)); return;
    case TensorType::kQ4_0: decode_q4_0(b, y); return;
    case TensorType::kQ4_1: decode_q4_1(b, y); return;
    case TensorType::kQ5_0: decode_q5_0(b, y); return;
    case TensorType::kQ5_1: decode_q5_1(b, y); return;
    case TensorType::kQ8_0: decode_q8_0(b, y); return;
    case TensorType::kQ2_K: decode_q2_k(b, y); return;
    case TensorType::kQ3_K: decode_q3_k(b, y); return;
    case TensorType::kQ4_K: decode_q4_k(b, y); return;
    case TensorType::kQ5_K: decode_q5_k(b, y); return;
    case TensorType::kQ6_K: decode_q6_k(b, y); return;
    default: detail::dequantise_codebook_block(type, b, y); return;
  }
}

}  // namespace

float bfloat_to_float(uint16_t bits) noexcept { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

void dequantise(TensorType type, std::span<const std::byte> blocks, std::span<float> values) noexcept {
  const TensorTypeInfo* info = tensor_type_info(type);
  if (info == nullptr) return;
  if (type == TensorType::kF32) {
    std::memcpy(values.data(), blocks.data(), values.size_bytes());
    return;
  }
  const auto* block = reinterpret_cast<Byte>(blocks.data());
  for (size_t at = 0; at < values.size(); at += info->block_values, block += info->block_bytes) {
    decode_block(type, block, values.data() + at);
  }
}

}  // namespace kvasir
