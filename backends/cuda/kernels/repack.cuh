// From a file's blocks to T16 tiles, and from any stored type to plain rows. Byte permutations: exact. Q5_0 becomes T16
// Q8_0 without loss (q - 16 fits eight bits, the scale stays).
#pragma once

#include "backends/cuda/kernels/args.h"
#include "backends/cuda/kernels/decode.cuh"
#include "backends/cuda/kernels/simt.h"

namespace kvasir::cuda {

constexpr uint32_t kRepackThreads = 128;

KVASIR_DEVICE void put_word(uint8_t* at, uint32_t w) { *reinterpret_cast<uint32_t*>(at) = w; }
KVASIR_DEVICE void put_short(uint8_t* at, uint32_t w) { *reinterpret_cast<uint16_t*>(at) = static_cast<uint16_t>(w); }

/// Eight nibbles in tile order: byte i holds q[i] and q[i + 4].
template <class Quant>
KVASIR_DEVICE uint32_t nibble_word(Quant quant, uint32_t first) {
  uint32_t w = 0;
  for (uint32_t i = 0; i < 4; ++i) w |= (quant(first + i) & 15U) << (8 * i) | (quant(first + 4 + i) & 15U) << (8 * i + 4);
  return w;
}

/// One block of 32 of row r: sub-block j of a record with `subs`.
KVASIR_DEVICE void repack_block_of_32(Stored raw, Block b, uint8_t* rec, uint32_t subs, uint32_t j, uint32_t r) {
  if (raw == Stored::kQ8_0 || raw == Stored::kQ5_0) {
    for (uint32_t i = 0; i < 32; ++i) {
      int q = static_cast<int8_t>(b[2 + i]);
      if (raw == Stored::kQ5_0) {
        const uint32_t byte = b[6 + i % 16];
        q = static_cast<int>((i < 16 ? byte & 15U : byte >> 4U) | (word32(b + 2) >> i & 1U) << 4U) - 16;
      }
      rec[(2 * j + i / 16) * 256 + r * 16 + i % 16] = static_cast<uint8_t>(q);
    }
    put_short(rec + subs * 512 + j * 32 + r * 2, word16(b));
    return;
  }
  const Block codes = b + (raw == Stored::kQ4_1 ? 4 : 2);
  const auto quant = [&](uint32_t i) -> uint32_t { return i < 16 ? codes[i] & 15U : codes[i - 16] >> 4U; };
  for (uint32_t w = 0; w < 4; ++w) put_word(rec + j * 256 + r * 16 + w * 4, nibble_word(quant, 8 * w));
  if (raw == Stored::kQ4_1) put_word(rec + subs * 256 + j * 64 + r * 4, word32(b));
  else put_short(rec + subs * 256 + j * 32 + r * 2, word16(b));
}

KVASIR_DEVICE void repack_q4_or_q5_k(bool five, Block b, uint8_t* rec, uint32_t r) {
  const Block codes = b + (five ? 48 : 16);
  uint64_t fields[2] = {0, 0};
  for (uint32_t j = 0; j < 8; ++j) {
    const auto quant = [&](uint32_t i) -> uint32_t { return (codes[32 * (j / 2) + i] >> (4 * (j % 2))) & 15U; };
    for (uint32_t w = 0; w < 4; ++w) put_word(rec + j * 256 + r * 16 + w * 4, nibble_word(quant, 8 * w));
    int scale, minimum;
    scale_and_minimum(b + 4, j, scale, minimum);
    fields[j % 2] |= static_cast<uint64_t>(scale | minimum << 6) << (12 * (j / 2));
    if (!five) continue;
    uint32_t fifth = 0;
    for (uint32_t i = 0; i < 32; ++i) fifth |= ((b[16 + i] >> j) & 1U) << (8 * (i % 4) + i / 4);
    put_word(rec + 2304 + j * 64 + r * 4, fifth);
  }
  uint8_t* s = rec + 2048 + r * 16;
  put_word(s, word32(b));
  put_word(s + 4, static_cast<uint32_t>(fields[0]));
  put_word(s + 8, static_cast<uint32_t>(fields[1]));
  put_word(s + 12, static_cast<uint32_t>(fields[0] >> 32U) | static_cast<uint32_t>(fields[1] >> 32U) << 16U);
}

KVASIR_DEVICE void repack_q6_k(Block b, uint8_t* rec, uint32_t r) {
  const auto quant = [&](uint32_t at) -> uint32_t {
    const uint32_t part = at % 128 / 32;
    return ((b[64 * (at / 128) + 32 * (part % 2) + at % 32] >> (4 * (part / 2))) & 15U) |
           ((b[128 + 32 * (at / 128) + at % 32] >> (2 * part)) & 3U) << 4U;
  };
  for (uint32_t j = 0; j < 8; ++j) {
    for (uint32_t w = 0; w < 4; ++w) put_word(rec + j * 256 + r * 16 + w * 4, nibble_word(quant, 32 * j + 8 * w));
    for (uint32_t h = 0; h < 2; ++h) {
      uint32_t high = 0;
      for (uint32_t i = 0; i < 16; ++i) high |= (quant(32 * j + 16 * h + i) >> 4U) << (8 * (i % 4) + 2 * (i / 4));
      put_word(rec + 2048 + j / 2 * 256 + r * 16 + j % 2 * 8 + h * 4, high);
    }
  }
  for (uint32_t i = 0; i < 16; ++i) rec[3072 + r * 16 + i] = b[192 + i];
  put_short(rec + 3328 + 2 * r, word16(b + 208));
}

/// One thread per (record's row); blocks of 32 go one after another. Grid: (records * 16 / threads, tiles).
KVASIR_KERNEL(kRepackThreads, 4) repack_kernel(KVASIR_ARGS(RepackArgs) a) {
  const uint32_t records = (a.cols + 255) / 256, item = block_x() * threads_x() + thread_x();
  if (item >= records * kTileRows) return;
  const uint32_t record = item / kTileRows, r = item % kTileRows, row = block_y() * kTileRows + r;
  const uint32_t left = a.cols / 32 - record * 8, subs = left < 8 ? left : 8;
  uint8_t* rec = a.to + block_y() * a.tile_bytes + static_cast<uint64_t>(record) * record_bytes(a.stored, 8);
  if (row >= a.rows) return;  // the buffer was cleared
  uint32_t values, bytes;
  block_geometry(a.raw, values, bytes);
  const Block from = a.from + row * a.raw_row_bytes + static_cast<uint64_t>(record) * (256 / values) * bytes;
  if (values == 32) {
    for (uint32_t j = 0; j < subs; ++j) repack_block_of_32(a.raw, from + j * bytes, rec, subs, j, r);
  } else if (a.raw == Stored::kQ6_K) {
    repack_q6_k(from, rec, r);
  } else {
    repack_q4_or_q5_k(a.raw == Stored::kQ5_K, from, rec, r);
  }
}

/// Grid: (columns / 8 / threads, rows).
KVASIR_KERNEL(kRepackThreads, 4) decode_matrix_kernel(KVASIR_ARGS(DecodeMatrixArgs) a) {
  begin_dependent();
  const uint32_t g = block_x() * threads_x() + thread_x(), row = block_y();
  if (8 * g >= a.w.cols) return;
  float v[8];
  decode_eight(a.w, a.expert, a.first_row + row, g, v);
  for (uint32_t i = 0; i < 8 && 8 * g + i < a.w.cols; ++i) {
    const uint64_t at = row * a.to_stride + 8 * g + i;
    if (a.kind == FloatKind::kBF16) static_cast<uint16_t*>(a.to)[at] = bfloat_bits(v[i]);
    else if (a.kind == FloatKind::kF16) static_cast<uint16_t*>(a.to)[at] = half_bits(fmaxf(-65504.0F, fminf(65504.0F, v[i])));
    else static_cast<float*>(a.to)[at] = v[i];
  }
}

}  // namespace kvasir::cuda
