// How a matrix lies in device memory: as the blocks of its file (numbers of TensorType), or in T16: tiles of 16 rows x all
// K, a tile being a row of records of 16 rows x 256 k (the last one may be shorter where blocks are of 32), each a
// permutation of the file's bytes. Plain data, shared by host code and kernels.
//
// A record of n sub-blocks of 32 k (n = 8 but for the last), sub-block j, row r:
//   nibbles  at j*256 + r*16: 4 words of 8 k each; (w & 0x0F0F0F0F) = k 0..3, (w >> 4) & 0x0F0F0F0F = k 4..7
//   Q4_0     then n x 16 half scales                                                            288 n bytes
//   Q4_1     then n x 16 x (half scale, half minimum)                                           320 n
//   Q8_0     2n x 16 x 16 int8 (half sub-blocks), then n x 16 half scales                       544 n
//   Q4_K     then 16 x {d | dmin, even sub-blocks' bits 0-31, odd ones', even 32-47 | odd 32-47}  2304; a sub-block's 12
//            bits (scale | minimum << 6) are at 12 * (j / 2)
//   Q5_K     as Q4_K, then 8 x 16 words of fifth bits: bit 8 i + g belongs to k 4 g + i         2816
//   Q6_K     then 4 x 16 x 16 bytes of high bits (two sub-blocks x two halves: byte i, bits 2 g belong to k 4 g + i),
//            16 x 16 int8 scales, 16 half scales                                                3360
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define KVASIR_BOTH __host__ __device__
#else
#define KVASIR_BOTH
#endif

namespace kvasir::cuda {

/// Numbers below 64 are TensorType's.
enum class Stored : uint32_t {
  kF32 = 0, kF16 = 1, kQ4_0 = 2, kQ4_1 = 3, kQ5_0 = 6, kQ5_1 = 7, kQ8_0 = 8,
  kQ2_K = 10, kQ3_K = 11, kQ4_K = 12, kQ5_K = 13, kQ6_K = 14,
  kIQ2_XXS = 16, kIQ2_XS = 17, kIQ3_XXS = 18, kIQ1_S = 19, kIQ4_NL = 20, kIQ3_S = 21, kIQ2_S = 22, kIQ4_XS = 23,
  kIQ1_M = 29, kBF16 = 30, kTQ1_0 = 34, kTQ2_0 = 35, kMXFP4 = 39, kNVFP4 = 40, kQ1_0 = 41, kQ2_0 = 42,
  kT16Q4_0 = 64, kT16Q4_1 = 65, kT16Q8_0 = 66, kT16Q4_K = 67, kT16Q5_K = 68, kT16Q6_K = 69,
};

KVASIR_BOTH constexpr bool is_t16(Stored type) { return static_cast<uint32_t>(type) >= 64; }
constexpr uint32_t kTileRows = 16;

/// Bytes of a record with `subs` sub-blocks of 32 k.
KVASIR_BOTH constexpr uint32_t record_bytes(Stored type, uint32_t subs) {
  switch (type) {
    case Stored::kT16Q4_0: return 288 * subs;
    case Stored::kT16Q4_1: return 320 * subs;
    case Stored::kT16Q8_0: return 544 * subs;
    case Stored::kT16Q4_K: return 2304;
    case Stored::kT16Q5_K: return 2816;
    case Stored::kT16Q6_K: return 3360;
    default: return 0;
  }
}
/// Bytes of one tile of 16 rows with `cols` columns.
KVASIR_BOTH constexpr uint64_t tile_bytes(Stored type, uint64_t cols) {
  const uint64_t whole = cols / 256;
  const auto rest = static_cast<uint32_t>(cols % 256 / 32);
  return whole * record_bytes(type, 8) + (rest == 0 ? 0 : record_bytes(type, rest));
}

/// A matrix (or a stack of experts) as kernels see it.
struct WeightView {
  const uint8_t* data;
  const uint16_t* codebooks;  ///< grids of the IQ types, see Codebooks
  uint64_t expert_bytes;
  uint64_t row_bytes;         ///< of one row; T16: of one tile
  Stored type;
  uint32_t rows, cols;
  uint32_t unused;            ///< no padding: launches are compared byte by byte
};

/// Where each grid of iq_tables.h begins in the device's copy of them, in 16-bit words.
struct Codebooks {
  static constexpr uint32_t kIq2xxs = 0, kIq2xs = 256, kIq2s = 768, kIq3xxs = 1792, kIq3s = 2048, kIq1 = 2560, kEnd = 4608;
};

}  // namespace kvasir::cuda
