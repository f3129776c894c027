// The arguments of every kernel: plain data, one struct per kernel, without padding (launches are compared byte by byte
// to find a captured graph again). Pointers are device addresses. Nothing here depends on how long a sequence is: what
// grows from step to step lies in device memory (StepTables), so that a captured graph stays right.
#pragma once

#include <cstdint>

#include "backends/cuda/kernels/stored_type.h"

namespace kvasir::cuda {

struct MatView {
  float* data;
  uint64_t stride;  ///< floats
  uint32_t rows, cols;
};

/// What a step's rows are, written by the host before the step.
struct StepTables {
  const uint32_t* positions;       ///< [rows]
  const uint32_t* slots;           ///< [rows] cache index
  const uint32_t* sequence_of_row; ///< [rows]
  const uint32_t* first_rows;      ///< [sequences]
  const uint32_t* row_counts;      ///< [sequences]
  const uint32_t* state_slots;     ///< [sequences]
};

// ---------------------------------------------------------------------------------------------------------------- rows

struct DecodeRowsArgs {  ///< y[t] (+)= scale * table[ids[t] + offset]
  MatView y;
  WeightView table;
  const uint32_t* ids;
  float scale;
  uint32_t offset, accumulate, unused;
};
struct NormArgs {
  MatView y, x;
  const float* weight;
  const float* bias;
  float eps;
  uint32_t groups, layer, weight_step;  ///< weight_step: columns of a group where each has its own weights, else 0
};
enum class Element : uint32_t { kGated, kActivate, kAdd, kMultiply, kMultiplyRow, kScale, kSoftCap };
struct ElementArgs {
  MatView y, x, z;
  Element kind;
  uint32_t activation;  ///< kvasir::Activation
  float factor;
  uint32_t unused;
};
struct CopyRowsArgs {  ///< y[i] = x[rows == null ? i : rows[i]]
  MatView y;
  const float* x;
  uint64_t x_stride;
  const uint32_t* rows;
};
struct BestValue {  ///< kvasir::Candidate
  float logit;
  uint32_t id;
};
struct BestArgs {  ///< the largest values of each row, in order
  MatView x;
  uint64_t* pieces;  ///< [rows][pieces of a row][count], keys
  BestValue* out;    ///< [rows][count]
  uint32_t count, piece_count;
};
struct RopeArgs {
  float* x;
  uint64_t stride;
  const float* inverse_frequency;
  const uint32_t* positions;
  uint32_t head_size, offset, pairs, interleaved;
  float magnitude;
  uint32_t unused;
};

// ------------------------------------------------------------------------------------------------------------- weights

struct RepackArgs {  ///< raw rows -> T16 tiles; `rows` of them, the rest of the last tile becomes zero
  const uint8_t* from;
  uint8_t* to;
  uint64_t raw_row_bytes;
  uint64_t tile_bytes;
  Stored raw, stored;
  uint32_t rows, cols;
};
enum class FloatKind : uint32_t { kF32, kBF16, kF16 };
struct DecodeMatrixArgs {  ///< rows of a matrix as floats, row-major
  WeightView w;
  void* to;
  uint64_t to_stride;  ///< values
  uint32_t expert, first_row;
  FloatKind kind;
  uint32_t unused;
};

// -------------------------------------------------------------------------------------------------------------- linear

/// y = scale * (x w^T + bias) (+ y)
struct LinearOutput {
  MatView y;
  const float* bias;
  float scale;
  uint32_t accumulate;
};
struct LinearArgs {  ///< exact: f32 activations, any stored type
  WeightView w;
  MatView x;
  LinearOutput out;
};
/// How the rows that enter a product are made.
enum class RowSource : uint32_t { kPlain, kNorm, kGated };
struct QuantiseArgs {  ///< 8-bit activations per 32 values, in the order that T16 lanes read (t16_dot.cuh)
  MatView x;
  int8_t* q;      ///< [group of columns][k / 32][column][32]
  float* scales;  ///< [group of columns][k / 32][column][4]: scale, scale * sum, sums of the two halves (int bits)
  const float* weight;  ///< kNorm, or null
  const float* bias;    ///< kNorm, or null
  const float* up;      ///< kGated
  uint64_t up_stride;
  RowSource source;
  uint32_t group_columns, layer, activation;
  float eps;
  uint32_t unused;
};
struct ToHalfArgs {  ///< rows as 16-bit floats; f16 rows are multiplied by a power of two so that they fit
  MatView x;
  uint16_t* to;            ///< [rows][columns of x]
  float* inverse_scales;   ///< [rows]
  FloatKind kind;
  uint32_t unused;
};
struct ProductOutArgs {  ///< what write_output() does, for sums that a library left
  LinearOutput out;
  const float* sums;       ///< [rows][columns of out.y]
  const float* factors;    ///< [rows]
};
/// One of the matrices that share a launch: all of one type and with the same columns.
struct GemvPart {
  const uint8_t* data;
  LinearOutput out;
  uint32_t rows;
  uint32_t end_tile;  ///< tiles of this part and of those before it
  uint32_t first_row; ///< rows of the parts before it
  uint32_t unused;
};
constexpr uint32_t kGemvParts = 4;
struct GemvArgs {
  const int8_t* q;
  const float* scales;
  uint64_t tile_bytes;
  uint32_t cols, parts;
  GemvPart part[kGemvParts];
};
struct GemmArgs {
  const int8_t* q;
  const float* scales;
  uint64_t tile_bytes;
  uint32_t cols, parts;
  GemvPart part[kGemvParts];
  float* partials;          ///< [parts of K][rows of all parts][columns], each matrix [column][row]
  uint32_t columns, all_rows;
};

// ----------------------------------------------------------------------------------------------------------- attention

enum class KvKind : uint32_t { kF16, kQ8_0, kF32, kAged /* what an entry of a page table may be, never a pool */ };
/// One head's part of a page: K transposed [k_dim][64], its scales, V [64][v_stride], its scales: the CPU's layout. And of
/// an aged page (backend.h): K [k_dim][32], slots b and b + 32 in a byte, scales and leasts [k_dim][2], fifth bits of
/// channel d or k_dim - 1 - d [k_dim/2][64]; V [64][groups of 32][16], values b and b + 16 in a byte, scales and leasts
/// [64][groups].
struct KvHeadView {
  uint64_t k_scales, v, v_scales, head_bytes;  ///< byte offsets; scales are f16: K [k_dim/32][64], V [64][v_stride/32]
  uint64_t aged_k_scales, aged_k_leasts, aged_v, aged_v_scales, aged_v_leasts, aged_bytes;
  KvKind kind;
  uint32_t k_dim, v_dim, v_stride;
};
/// A layer's cache, with the page table of its group.
struct KvLayerView {
  uint8_t* base;        ///< this layer's head 0 in page 0
  const uint32_t* pages;  ///< [sequences][table_stride]
  uint64_t page_bytes;
  KvHeadView head;
  uint32_t heads, table_stride;
};
struct StoreKvArgs {
  KvLayerView kv;
  StepTables step;
  const float* k;
  const float* v;  ///< null: no values
  uint64_t k_stride, v_stride;
};
struct RopeStoreArgs {  ///< rope of q and k in place, then k and v to the cache
  StoreKvArgs store;
  RopeArgs q, k;         ///< pairs 0: not turned
  uint32_t q_heads, unused;
};
struct AttentionArgs {
  KvLayerView kv;
  StepTables step;
  const float* q;
  uint64_t q_stride;
  float* partials;   ///< [rows][query heads][splits][2 + v_dim]: largest, sum, values
  float* y;
  uint64_t y_stride;
  const float* sinks;
  float scale, soft_cap;
  uint32_t window, group;      ///< group: query heads per KV head
  uint32_t tile_heads, splits;
  uint32_t v_dim, first_row;   ///< v_dim: of the output; first_row: of this launch
  uint32_t values_in_keys, unused;
};

struct PromptAttentionArgs {  ///< all rows of the sequences with more than few_rows
  KvLayerView kv;
  StepTables step;
  const float* q;
  uint64_t q_stride;
  float* y;
  uint64_t y_stride;
  const float* sinks;
  float q_factor, soft_cap;  ///< q_factor: scale, times log2(e) where there is no soft-cap
  uint32_t window, group;
  uint32_t sequences, few_rows;
};

/// How much rows of one sequence look at each slot (AttentionMass).
struct MassArgs {
  KvLayerView kv;
  const float* q;            ///< first row that is asked
  uint64_t q_stride;
  const float* sinks;
  float* totals;             ///< [rows][query heads][2]: largest score, 1 / sum
  float* mass;               ///< [KV heads][slots], added to
  float* out;                ///< the same values once more, where the host takes them from
  float scale, soft_cap;
  uint32_t window, group;
  uint32_t sequence, first_slot;  ///< first_slot: of the first row
  uint32_t rows, slots;
};
/// Rows of a layer's cache to other pages (KvGather). The table of `kv` is the source's.
struct GatherArgs {
  KvLayerView kv;
  const uint32_t* rows;      ///< [targets][64] source slots
  const uint32_t* to;        ///< [targets] page entries
  const int32_t* turns;      ///< [targets][64]; null: keys as they are
  const float* inverse_frequency;
  uint32_t pairs, offset, interleaved, unused;
};

// ------------------------------------------------------------------------------------------------------------- experts

struct RouterArgs {
  MatView logits;
  const float* logit_bias;
  const float* select_bias;
  uint32_t* ids;    ///< [rows][top_k]
  float* weights;   ///< [rows][top_k]
  float* scratch;   ///< [rows][2 * experts]
  uint32_t experts, top_k, router, expert_groups, top_groups, normalise;
  float weight_scale;
  uint32_t unused;
};
/// Items (a row and one of its experts) of one expert, neighbours in an order.
struct ExpertGroup {
  uint32_t expert, first, count, unused;
};
struct ExpertOrderArgs {  ///< items by expert, each expert's in their own order, in groups of at most `width`
  const uint32_t* ids;    ///< [items] expert
  uint32_t* order;        ///< [items]
  ExpertGroup* groups;    ///< [most_groups]; those that are not needed have no items
  uint32_t items, experts, width, most_groups;
};
struct ExpertLinearArgs {  ///< y[item] = w[ids[item]] x[item / items_per_row] + bias[ids[item]]
  WeightView w;
  MatView x, y;
  const uint32_t* ids;
  const float* bias;
  const uint32_t* order;       ///< with groups
  const ExpertGroup* groups;   ///< null: item by item
  uint32_t items_per_x, unused;
};
struct ExpertGemmArgs {  ///< the same with tiles and 8-bit activations
  const uint8_t* data;
  uint64_t expert_bytes, tile_bytes;
  const int8_t* q;         ///< [rows of x][columns]
  const float* scales;     ///< [rows of x][columns / 32][4]
  const uint32_t* order;
  const ExpertGroup* groups;
  const float* bias;
  float* y;
  uint64_t y_stride;
  uint32_t rows, cols, items_per_x, unused;
};
struct ExpertSumArgs {  ///< y[row] += sum of weights[row][j] * x[row * top_k + j]
  MatView y, x;
  const float* weights;
  uint32_t top_k, unused;
};

// ----------------------------------------------------------------------------------------------------------- recurrent

struct StateView {
  float* base;            ///< of slot 0
  uint64_t slot_floats;
};
struct ConvArgs {
  MatView y, x;
  StateView state;
  StepTables step;
  const float* taps;
  const float* bias;
  uint32_t n_taps, activation;
};
struct ScanArgs {
  MatView y, x, b, c, dt;
  StateView state;
  StepTables step;
  const float* a;
  const float* d;
  const float* dt_bias;
  uint32_t heads, head_dim, state_dim, groups;
};
struct DeltaArgs {
  MatView y, q, k, v, g, beta;
  StateView state;
  StepTables step;
  uint32_t k_heads, v_heads, k_dim, v_dim;
};

}  // namespace kvasir::cuda
