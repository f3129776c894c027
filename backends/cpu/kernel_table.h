// The border between ordinary C++ and the kernels: plain structs of arguments and one table of function pointers per
// instruction set. ISA spines (kernels/isa_*.cpp) include this file, so it stays free of everything but fixed-width
// integers: no std templates, whose weak copies could leak wide instructions into the program (README.md).
//
// Words: a *panel* is 16 rows of a weight matrix, packed; a *tile* is up to `tile_columns` rows of activations,
// interleaved. Columns of a GEMM are rows (tokens) of x and y.
#pragma once

#include <cstdint>

namespace kvasir::cpu {

constexpr uint32_t kPanelRows = 16;
constexpr uint32_t kPageRows = 64;
constexpr uint32_t kSplitPages = 8;  ///< attention works through KV in splits of 8 pages = 512 slots, merged in order

/// Packed weight formats, in the order of kFormats in format.h.
enum class Format : uint8_t {
  kF32, kF16, kBF16, kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ8_0, kQ2_K, kQ3_K, kQ4_K, kQ5_K, kQ6_K,
  kIQ4_NL, kIQ4_XS, kMXFP4,
  kIQ1_S, kIQ1_M, kIQ2_XXS, kIQ2_XS, kIQ2_S, kIQ3_XXS, kIQ3_S, kTQ1_0, kTQ2_0, kNVFP4, kQ1_0, kQ2_0,
};
constexpr uint32_t kFormatCount = 28;

/// What an integer format needs of the activations beside their 8-bit values. Per column the scale of its row; then per
/// block of 32 and column the power of two that the block's scale is of it (32-bit, as added to the exponent field of a
/// float), then either -z * sum (integer, the folded zero point z) or sum times that power (float, for formats with
/// minima); "x16": one sum for each half of 16 values. kSuper: per 256 values and column a scale, then 32-bit words: the
/// powers of its 8 blocks, then -z * sum of each sub-block; or the sums of sub-blocks times their powers as
/// three digits to the base 128 (the last signed), a byte each: a word per digit and 4 sub-blocks.
enum class Aux : uint8_t {
  kZero1, kZero8, kZero12, kZero16, kZero64, kZero128, kMin, kZero12x16, kZero16x16, kZero64x16,
  kSuperMin, kSuperZero128, kSuperMinx16, kSuperZero4x16, kSuperZero32x16, kNone
};
constexpr uint32_t kAuxKinds = 15;
constexpr uint32_t kSuperKinds = 0x7C00;  ///< bits of these
constexpr uint32_t kSuperValues = 256;
constexpr uint32_t kSuperDigits = 3;
constexpr int32_t kMaxSuperPower = 9;  ///< 13 bits of a sum and these make three digits
/// Floats or words per block of 32, of 256 for kSuper kinds.
constexpr uint32_t aux_width(uint32_t kind) {
  constexpr uint8_t kWidths[kAuxKinds] = {2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 15, 17, 21, 25, 25};
  return kWidths[kind];
}
constexpr bool is_super(uint32_t kind) { return (kSuperKinds >> kind & 1U) != 0; }
constexpr int32_t kMostPower = 20;  ///< of a block's scale: what is coarser then is 2^-27 of the row's largest value
/// Of one row with `k` values.
constexpr uint64_t aux_floats(uint32_t kind, uint64_t k) {
  return is_super(kind) ? k / kSuperValues * aux_width(kind) : 1 + k / 32 * aux_width(kind);
}

/// y[columns, m] = scale * (x w^T + bias) (+ y) for a range of panels and tiles.
struct LinearArgs {
  Format format = Format::kF32;
  const uint8_t* panels = nullptr;
  uint64_t panel_bytes = 0;
  uint32_t k = 0, m = 0;
  uint32_t columns = 0, tiles = 0;  ///< tiles have columns / tiles columns, the first columns % tiles one more
  const int8_t* q = nullptr;        ///< [tile][k / 4][column][4], or null: use f
  const float* aux = nullptr;       ///< [tile], see Aux
  const float* f = nullptr;         ///< [tile][k rounded up to 2][column]
  const uint16_t* h = nullptr;      ///< linear_bf16: [tile][k / 2 rounded up][column][2]
  float* y = nullptr;
  uint64_t y_stride = 0;
  const float* bias = nullptr;
  float scale = 1.0F;
  bool accumulate = false;
  uint8_t* scratch = nullptr;       ///< linear_scratch_bytes() of format.h
};

/// Quantises one row into column `column` of a tile.
struct QuantizeArgs {
  const float* x = nullptr;
  uint32_t k = 0, column = 0, columns = 0;
  int8_t* q = nullptr;               ///< the tile; null: not wanted
  int8_t* q_super = nullptr;         ///< the tile for kSuper kinds; null: not wanted
  float* aux[kAuxKinds] = {};        ///< the tile, per kind; null: not wanted
};

struct NormArgs {
  float* y = nullptr;
  const float* x = nullptr;
  uint32_t n = 0;
  const float* weight = nullptr;  ///< [n] or null
  const float* bias = nullptr;
  float eps = 0.0F;
  bool layer = false;
};

enum class KvKind : uint8_t { kF16, kQ8_0, kF32 };

/// One head's part of a page: K transposed [k_dim][64], then its scales, V [64][v_stride], then its scales.
struct KvHeadLayout {
  KvKind kind = KvKind::kF16;
  uint32_t k_dim = 0, v_dim = 0, v_stride = 0;  ///< v_stride: v_dim rounded up to 16
  uint64_t k_scales = 0, v = 0, v_scales = 0;   ///< byte offsets; scales are f16: K [k_dim/32][64], V [64][v_stride/32]
  uint64_t head_bytes = 0;
  // An aged page (backend.h) of this head, in the head's place, `aged_bytes` per part: K [k_dim][32], each byte slots b and
  // b + 32 of a channel; its scales and leasts [k_dim][2]; V [64][groups of 32][16], each byte values b and b + 16 of a
  // group; its scales and leasts [64][groups].
  uint64_t aged_k_scales = 0, aged_k_leasts = 0, aged_v = 0, aged_v_scales = 0, aged_v_leasts = 0;
  uint64_t aged_bytes = 0;
};

/// As in backend.h, which spines do not include.
constexpr uint32_t kAgedBit = 1U << 31;
constexpr uint32_t kAgedPartBitCount = 3;
/// The bytes of one head that an entry of a page table names; `pool`: this head in page 0.
constexpr uint64_t page_place(uint32_t id, uint64_t page_stride, uint64_t aged_bytes) {
  if ((id & kAgedBit) == 0) return id * page_stride;
  return ((id & ~kAgedBit) >> kAgedPartBitCount) * page_stride + (id & ((1U << kAgedPartBitCount) - 1)) * aged_bytes;
}

struct StoreKvArgs {
  KvHeadLayout layout;
  uint8_t* head = nullptr;  ///< this head's part of the page
  uint32_t slot = 0;        ///< row in the page
  const float* k = nullptr;
  const float* v = nullptr;
};

/// Attention of `rows` consecutive tokens x `heads` query heads that share one KV head.
struct AttentionArgs {
  const float* q = nullptr;  ///< first row, first head; heads are k_dim apart
  uint64_t q_stride = 0;
  float* y = nullptr;        ///< heads are v_dim apart
  uint64_t y_stride = 0;
  uint32_t rows = 0, heads = 0, first_slot = 0;
  uint32_t v_dim = 0;        ///< of the output
  bool values_in_keys = false;
  bool exact = false;        ///< queries are not rounded
  KvHeadLayout layout;
  const uint8_t* pool = nullptr;  ///< this head in page 0
  uint64_t page_stride = 0;
  const uint32_t* pages = nullptr;
  uint32_t split_begin = 0, split_end = 0;  ///< splits of kSplitPages pages
  float* partial = nullptr;  ///< null: write y; else the state of the one split: per query {max, sum, v_stride values}
  float scale = 0.0F, soft_cap = 0.0F;
  uint32_t window = 0;
  const float* sinks = nullptr;  ///< [heads] or null
  uint8_t* scratch = nullptr;    ///< attention_scratch_bytes() of format.h
};

struct RopeArgs {
  float* x = nullptr;  ///< one head, already at its first rotated value
  uint32_t dims = 0;
  bool interleaved = false;
  const float* cos = nullptr;  ///< [dims]: interleaved each value twice; half split: [dims/2] used
  const float* sin = nullptr;
};

/// Activation in the order of kvasir::Activation.
using ActivationIndex = uint8_t;

/// Every kernel of one instruction set. A null entry is taken from the next table below (dispatch.cpp).
struct KernelTable {
  const char* name = nullptr;
  uint32_t tile_columns = 0;
  void (*linear)(const LinearArgs&, uint32_t panel_begin, uint32_t panel_end, uint32_t tile_begin,
                 uint32_t tile_end) = nullptr;
  /// bf16 weights times bf16 activations; null in tables without such instructions (nothing stands in for it).
  void (*linear_bf16)(const LinearArgs&, uint32_t panel_begin, uint32_t panel_end, uint32_t tile_begin,
                      uint32_t tile_end) = nullptr;
  /// Dequantises row `row` of a panel into out[k], bit for bit what ggml's scalar decoder gives.
  void (*decode_row)(Format, const uint8_t* panel, uint32_t row, uint32_t k, float* out) = nullptr;
  /// Operations done in `rounds` of the fastest loop there is; the caller looks at the clock. bf16 as linear_bf16.
  uint64_t (*peak_int8)(uint32_t rounds) = nullptr;
  uint64_t (*peak_f32)(uint32_t rounds) = nullptr;
  uint64_t (*peak_bf16)(uint32_t rounds) = nullptr;
  void (*quantize_row)(const QuantizeArgs&) = nullptr;
  void (*norm)(const NormArgs&) = nullptr;
  void (*gated)(float* y, const float* gate, const float* up, uint32_t n, ActivationIndex) = nullptr;
  void (*activate)(float* y, const float* x, uint32_t n, ActivationIndex) = nullptr;
  void (*add)(float* y, const float* x, float scale, uint32_t n) = nullptr;       ///< y += scale * x
  void (*multiply)(float* y, const float* x, uint32_t n) = nullptr;               ///< y *= x
  void (*scale)(float* y, float factor, uint32_t n) = nullptr;
  void (*soft_cap)(float* y, float cap, uint32_t n) = nullptr;
  void (*rope)(const RopeArgs&) = nullptr;
  void (*store_kv)(const StoreKvArgs&) = nullptr;
  void (*attention)(const AttentionArgs&) = nullptr;
  /// Merges partial[splits] (each as AttentionArgs::partial, `partial_floats` apart) in order and writes y.
  void (*attention_merge)(const AttentionArgs&, const float* partials, uint64_t partial_floats, uint32_t splits) = nullptr;
};

/// Columns and first column of a tile.
struct TileSpan {
  uint32_t first, count;
};
constexpr TileSpan tile_span(uint32_t columns, uint32_t tiles, uint32_t tile) {
  const uint32_t base = columns / tiles;
  const uint32_t extra = columns % tiles;
  return {tile * base + (tile < extra ? tile : extra), base + (tile < extra ? 1 : 0)};
}

}  // namespace kvasir::cpu
