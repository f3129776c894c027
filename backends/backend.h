// The whole contract between the model code and a machine: Backend (weights, KV memory) and Stream (one step's ops).
// The transformer is written once against these ops (core/model/transformer.cpp); a backend may run them one by one
// (reference), record them and run all inside one parallel region (cpu), or capture them into a graph (cuda).
// Owned by the engine; used on the engine thread only, except where a line says otherwise.
//
// Conventions. Row-major. T = rows (tokens) in this step, K = in, M = out, D = head size. A row's result never depends
// on which other rows are in the step, on chunking, or on the number of threads (decisions.md 9): every backend keeps
// one order of floating-point operations per output element. Ops return nothing: the first error is sticky and comes
// out of finish(). Ops only read shapes at record time; data may be produced by an earlier op of the same step.
// Ops run as if one after another: a matrix may be written again, or downloaded before it is. Specs are copied at the
// call; token ids, row lists, inverse frequencies, upload sources and download targets must live until finish().
// Matrices may be views of columns (stride > cols). The output may be an input in norm, gated, activate and gated_linear.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backends/kv_pool.h"
#include "backends/tensor_type.h"
#include "core/base/result.h"

namespace kvasir {

using TokenId = int32_t;
// ---------------------------------------------------------------------------------------------------- options, identity

enum class Activations : uint8_t { kAuto, kF32 };  ///< kAuto: s8 per row per 32 values for integer weights, bf16 for
                                                   ///< bf16 weights where the machine multiplies these, else exact

struct BackendOptions {
  uint32_t threads = 0;                        ///< 0: physical cores within the CPU quota
  Activations activations = Activations::kAuto;
  uint32_t device = 0;                         ///< which of a backend's devices (Probe::devices)
};

/// What `doctor`, get_model_info and the log say about a backend on this machine.
struct Probe {
  std::string name;     ///< decisions.md 30: "reference", "cpu-avx512-vnni", "cuda", ...
  bool usable = false;
  int score = 0;        ///< the usable one with the highest score is chosen; reference is never chosen by itself
  std::string reason;   ///< why (not), for people: "AVX-512 VNNI and BF16 present", "no NVIDIA driver: libcuda.so.1 not found"
  uint32_t devices = 1;  ///< that can be opened, each as a backend of its own
};

struct BackendInfo {
  std::string name;                 ///< as in Probe
  std::string isa_or_device;        ///< "avx512-vnni-bf16", "NVIDIA H200"
  std::string reason;               ///< why this one
  uint32_t threads = 1;
  uint32_t numerics_version = 1;    ///< bumped when any kernel of this table changes its bits (decisions.md 10)
};

// ------------------------------------------------------------------------------------------------------------- weights

/// Random access to bytes of a model file (or memory). Thread-safe; backends read tensors from several threads.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /// Fills `into` from `offset`. Errors: kIo, kCorrupt when the file ended (it shrank while loading).
  virtual Result<void> read(uint64_t offset, std::span<std::byte> into) const = 0;
};

/// A part of the chain that a model is: the embedding, its layers in order, the head. A backend made of backends holds
/// parts in different places.
struct ModelPart {
  enum class Kind : uint8_t { kEmbedding, kLayer, kHead } kind = Kind::kEmbedding;
  uint32_t layer = 0;
};

/// A tensor as it lies in its file: `experts` stacked matrices of `rows` x `cols`, rows of whole blocks, contiguous.
/// A vector is one row. `row_offset`-style views of fused tensors (phi3's qkv) are made by moving `offset`.
struct HostTensor {
  std::string name;
  TensorType type = TensorType::kF32;
  uint64_t experts = 1;
  uint64_t rows = 1;
  uint64_t cols = 0;
  const ByteSource* source = nullptr;
  uint64_t offset = 0;  ///< absolute, in the source
  float add = 0.0F;     ///< added to every value after decoding (vectors only: norms stored as w of w+1)
  ModelPart part = {};  ///< whose ops use it; one that embedding and head share is the embedding's
};

enum class WeightUse : uint8_t {
  kMatrix,     ///< linear(), moe()
  kVector,     ///< norms, biases, conv taps, sinks: always held as f32
  kTable,      ///< embed() only
  kTableAndMatrix,  ///< tied embedding: embed() and linear() from one copy
};

/// A tensor on the backend, in the backend's own layout. Immutable; outlives every Stream that names it.
class Weight {
 public:
  virtual ~Weight() = default;
  virtual TensorType type() const noexcept = 0;
  virtual uint64_t rows() const noexcept = 0;   ///< M
  virtual uint64_t cols() const noexcept = 0;   ///< K
  virtual uint64_t experts() const noexcept = 0;
  virtual uint64_t bytes() const noexcept = 0;  ///< held in memory
};

// --------------------------------------------------------------------------------------------------------- step layout

/// The rows of one sequence in a step: rows [first_row, first_row + n_rows) are consecutive tokens of it.
struct SequenceRows {
  uint32_t first_row = 0;
  uint32_t n_rows = 0;
  uint32_t first_position = 0;  ///< rope position of the first row
  uint32_t first_slot = 0;      ///< cache index of the first row; slot s lives in pages[s / 64], row s % 64.
                                ///< equals first_position unless tokens were evicted by compaction
  std::vector<std::vector<PageId>> pages;  ///< per group; entries that fell out of a window are kNoPage
  uint32_t state_slot = 0;
};

/// How much the rows of one sequence look at each slot: what every attention() of the step adds up besides its result,
/// per KV layer and head the softmax weights of [first_row, first_row + n_rows) and of the query heads that share it.
/// Filled before finish() returns. Which rows share the step changes no bit of it.
struct AttentionMass {
  uint32_t first_row = 0, n_rows = 0;      ///< rows of the step, all of one sequence
  uint32_t slots = 0;                      ///< slots [0, slots) are wanted
  std::vector<std::vector<float>> layers;  ///< per KV layer [n_kv_heads][slots]; sized and cleared by the caller
};

/// What a step computes on. Fixed from begin() to finish().
struct StepLayout {
  uint32_t rows = 0;
  std::vector<SequenceRows> sequences;  ///< in order of first_row, covering all rows
  std::vector<AttentionMass*> masses;   ///< only for pools with the ability; borrowed
};

/// An activation matrix owned by the stream's arena: valid from alloc() to the next begin().
/// `data` is host memory on CPU backends and an opaque device address elsewhere: only the stream touches it.
struct Mat {
  float* data = nullptr;
  uint32_t rows = 0;
  uint32_t cols = 0;
  size_t stride = 0;  ///< in floats, >= cols
};

/// One of a row's likeliest tokens.
struct Candidate {
  float logit = 0.0F;
  TokenId id = 0;
};

// ------------------------------------------------------------------------------------------------------------- op specs

enum class NormKind : uint8_t { kRms, kLayer };
struct NormSpec {
  NormKind kind = NormKind::kRms;
  const Weight* weight = nullptr;  ///< [cols] or null (no gain)
  const Weight* bias = nullptr;    ///< [cols] or null
  float eps = 1e-5F;
  uint32_t groups = 1;             ///< norm each of `groups` equal parts of a row by itself (QK-norm: heads; weight is then
                                   ///< [cols/groups] shared by all parts, or [cols])
};

/// y = x * w^T (+ bias) (+ y). Shapes: x[T,K], w[M,K], y[T,M].
struct LinearSpec {
  Mat y;
  const Weight* weight = nullptr;
  const Weight* bias = nullptr;   ///< [M] or null
  bool accumulate = false;        ///< add to what y holds (residual)
  float scale = 1.0F;             ///< y = scale * (x w^T + bias) (+ y)
};

enum class Activation : uint8_t {
  kSilu, kGeluErf, kGeluTanh, kGeluQuick, kRelu, kReluSquared, kSigmoid, kTanh, kSoftplus, kIdentity,
  kSwigluOai,  ///< gpt-oss: gate clamped to <= 7, up to [-7, 7]; gate * sigmoid(1.702 gate) * (up + 1)
};

enum class RopeKind : uint8_t { kNone, kInterleaved /* pairs (2i, 2i+1) */, kHalfSplit /* pairs (i, i + n/2) */ };
struct RopeSpec {
  RopeKind kind = RopeKind::kNone;
  uint32_t dims = 0;                       ///< rotated leading dims of each head (partial rotary); even
  std::span<const float> inverse_frequency;  ///< dims/2 values: theta^(-2i/dims) after scaling; borrowed from the model
  float magnitude = 1.0F;                  ///< cos and sin are multiplied by this (YaRN, longrope attention factor)
  uint32_t offset = 0;                     ///< first rotated dim inside a head (MLA: after the no-rope part)
};

struct AttentionSpec {
  uint32_t kv_layer = 0;        ///< index into KvPoolSpec::layers
  uint32_t n_heads = 0;         ///< query heads; a multiple of the layer's n_kv_heads
  float scale = 0.0F;           ///< usually 1/sqrt(D)
  float soft_cap = 0.0F;        ///< 0: off; else s = cap * tanh(s / cap)
  uint32_t window = 0;          ///< 0: all; else the token itself and window-1 before it
  const Weight* sinks = nullptr;  ///< [n_heads] logits that join the softmax without a value (gpt-oss)
  uint32_t v_dim = 0;           ///< MLA (layer's v_dim == 0): values are the first v_dim of each key row
};

enum class RouterKind : uint8_t { kSoftmaxThenTopK, kTopKThenSoftmax, kSigmoid };
struct MoeSpec {
  RouterKind router = RouterKind::kSoftmaxThenTopK;
  const Weight* gate_inp = nullptr;       ///< [E, K]
  const Weight* gate_inp_bias = nullptr;  ///< [E] added to router logits (gpt-oss)
  const Weight* select_bias = nullptr;    ///< [E] added for the choice only (deepseek3)
  uint32_t experts = 0, top_k = 0;
  uint32_t expert_groups = 1, top_groups = 1;  ///< group-limited routing
  bool normalise = false;                 ///< weights of the chosen sum to 1
  float weight_scale = 1.0F;
  const Weight* gate = nullptr;           ///< experts x [F, K]; null for plain experts
  const Weight* up = nullptr;             ///< experts x [F, K]
  const Weight* down = nullptr;           ///< experts x [K, F]
  const Weight* gate_bias = nullptr;      ///< experts x [F] or null; the same for up, down
  const Weight* up_bias = nullptr;
  const Weight* down_bias = nullptr;
  Activation activation = Activation::kSilu;
};

/// Depthwise causal convolution over the sequence, with its last taps-1 inputs kept as state.
struct ConvSpec {
  const Weight* taps = nullptr;   ///< [channels, n_taps]
  const Weight* bias = nullptr;   ///< [channels] or null
  uint32_t state_layer = 0;       ///< index into KvPoolSpec::state_floats
  uint32_t state_offset = 0;      ///< first float of this op's state in the layer's state
  Activation activation = Activation::kIdentity;
};

/// Mamba-2 selective scan (Dao & Gu 2024, arXiv:2405.21060): per head h, S = exp(dt*A_h) S + dt * x B^T, y = S C + D_h x.
struct ScanSpec {
  uint32_t heads = 0, head_dim = 0, state_dim = 0, groups = 1;
  const Weight* a_log_or_a = nullptr;  ///< [heads], negative A itself
  const Weight* d = nullptr;           ///< [heads]
  const Weight* dt_bias = nullptr;     ///< [heads]
  uint32_t state_layer = 0, state_offset = 0;
};

/// Gated delta rule (Yang et al. 2024, arXiv:2412.06464): S = exp(g) S; S += k (beta (v - S^T k))^T; y = S^T q.
struct DeltaSpec {
  uint32_t k_heads = 0, v_heads = 0, k_dim = 0, v_dim = 0;
  uint32_t state_layer = 0, state_offset = 0;
};

// --------------------------------------------------------------------------------------------------------------- stream

/// One in-order list of ops. begin(), ops..., finish(); then results of download() are there.
/// Ops that a backend lacks set the sticky error kUnsupported (the defaults here do), never do nothing.
class Stream {
 public:
  virtual ~Stream() = default;

  /// Starts a step on `layout`, whose sequences' pages belong to `pool`. Frees what alloc() gave out before.
  virtual void begin(const StepLayout& layout, KvPool* pool) noexcept = 0;
  virtual Mat alloc(uint32_t rows, uint32_t cols) noexcept = 0;
  /// A place in the arena for release(), so that layers can use the same memory one after another.
  virtual size_t mark() noexcept { return 0; }
  /// What was allocated since `mark` is named by no op recorded from here on: later alloc() calls may use its memory
  /// again (ops stay in order). Default: nothing is given back before the next begin().
  virtual void release(size_t mark) noexcept { (void)mark; }
  /// Runs everything recorded and waits. The only sync point; reports the first error since begin().
  virtual Result<void> finish() noexcept = 0;
  /// Copies x to host memory at `into` (x.rows * x.cols floats) before finish() returns.
  virtual void download(std::span<float> into, Mat x) noexcept = 0;
  virtual void upload(Mat y, std::span<const float> from) noexcept = 0;
  /// Ops from here on belong to `part` (begin() enters the embedding); of the matrices made before, they name only those
  /// in `live`. True: these were moved and are other matrices now, all else that was made before is gone.
  virtual bool enter(const ModelPart& part, std::span<Mat> live) noexcept { return (void)part, (void)live, false; }

  /// How many candidates a row may be asked for; 0: this backend gives whole rows of logits only.
  virtual uint32_t most_candidates() const noexcept { return 0; }
  /// The `count` largest of each row of x, largest first and the lower column first among equals, at into[row * count ...]
  /// before finish() returns. NaN counts as larger than any number.
  virtual void best(std::span<Candidate> into, Mat x, uint32_t count) noexcept { (void)into, (void)x, (void)count, unsupported("best"); }

  /// y[t] = scale * table[ids[t]]. Ids are valid (checked by the caller).
  virtual void embed(Mat y, const Weight& table, std::span<const TokenId> ids, float scale) noexcept = 0;
  /// y[t] += table[position of row t + offset] (learned positions).
  virtual void add_positions(Mat y, const Weight& table, uint32_t offset) noexcept { (void)y, (void)table, (void)offset, unsupported("add_positions"); }
  virtual void norm(Mat y, Mat x, const NormSpec& spec) noexcept = 0;
  /// All of `parts` read the same x: one pass quantises it once and may fuse them.
  virtual void linear(std::span<const LinearSpec> parts, Mat x) noexcept = 0;
  /// Wider op: norm, then linear. The default calls the two; a backend may keep the normed row in registers.
  virtual void norm_linear(std::span<const LinearSpec> parts, Mat x, const NormSpec& spec) noexcept {
    Mat normed = alloc(x.rows, x.cols);
    norm(normed, x, spec);
    linear(parts, normed);
  }
  /// y = act(gate) * up, elementwise. y may be gate or up.
  virtual void gated(Mat y, Mat gate, Mat up, Activation act) noexcept = 0;
  /// Wider op: down projection of act(gate)*up; default: gated() into gate, then linear().
  virtual void gated_linear(std::span<const LinearSpec> parts, Mat gate, Mat up, Activation act) noexcept {
    gated(gate, gate, up, act);
    linear(parts, gate);
  }
  /// Wider op: down projection of act(x), which may be left in x; default: activate() in place, then linear().
  virtual void activated_linear(std::span<const LinearSpec> parts, Mat x, Activation act) noexcept { activate(x, x, act), linear(parts, x); }
  virtual void activate(Mat y, Mat x, Activation act) noexcept = 0;
  virtual void add(Mat y, Mat x, float scale) noexcept = 0;            ///< y += scale * x
  virtual void multiply(Mat y, Mat x) noexcept = 0;                     ///< y *= x; x may have one column (per-row factor)
  virtual void scale(Mat y, float factor) noexcept = 0;
  virtual void soft_cap(Mat y, float cap) noexcept = 0;                 ///< y = cap * tanh(y / cap)
  virtual void copy_columns(Mat y, uint32_t y_col, Mat x, uint32_t x_col, uint32_t count) noexcept = 0;
  /// y[i] = x[rows[i]]: rows that want logits.
  virtual void gather_rows(Mat y, Mat x, std::span<const uint32_t> rows) noexcept = 0;

  /// Rotates in place each head of x[T, heads*D] at its row's position.
  virtual void rope(Mat x, uint32_t heads, const RopeSpec& spec) noexcept = 0;
  /// Writes k[T, Hkv*k_dim] and v[T, Hkv*v_dim] (v may be empty) at each row's slot of kv layer `kv_layer`.
  virtual void store_kv(uint32_t kv_layer, Mat k, Mat v) noexcept = 0;
  /// Wider op: rope on q and k, then store_kv. `v` as there.
  virtual void rope_store(Mat q, uint32_t q_heads, Mat k, uint32_t kv_heads, Mat v, uint32_t kv_layer, const RopeSpec& spec) noexcept {
    rope(q, q_heads, spec);
    rope(k, kv_heads, spec);
    store_kv(kv_layer, k, v);
  }
  /// Causal scaled dot-product attention, grouped-query. q[T, Hq*k_dim], y[T, Hq*v_dim]; reads slots 0..own slot
  /// (within the window). Scores and sums in f32; KV split at fixed absolute slots, merged in order.
  virtual void attention(Mat y, Mat q, const AttentionSpec& spec) noexcept = 0;

  /// y += mixture of experts of x (routing inside).
  virtual void moe(Mat y, Mat x, const MoeSpec& spec) noexcept { (void)y, (void)x, (void)spec, unsupported("moe"); }
  virtual void conv(Mat y, Mat x, const ConvSpec& spec) noexcept { (void)y, (void)x, (void)spec, unsupported("conv"); }
  /// x[T, heads*head_dim], b and c [T, groups*state_dim], dt[T, heads] before bias and softplus.
  virtual void scan(Mat y, Mat x, Mat b, Mat c, Mat dt, const ScanSpec& spec) noexcept { (void)y, (void)x, (void)b, (void)c, (void)dt, (void)spec, unsupported("scan"); }
  /// q,k[T, k_heads*k_dim] already normalised, v[T, v_heads*v_dim], log-decay g and beta [T, v_heads].
  virtual void delta(Mat y, Mat q, Mat k, Mat v, Mat g, Mat beta, const DeltaSpec& spec) noexcept { (void)y, (void)q, (void)k, (void)v, (void)g, (void)beta, (void)spec, unsupported("delta"); }

 protected:
  /// Sets the sticky error "op not supported by this backend".
  virtual void unsupported(const char* op) noexcept = 0;
};

struct StreamLimits {
  uint32_t max_rows = 256;  ///< rows per step at most
};

/// What the arithmetic units can do at most, all threads together, in 1e9 operations per second (a multiply-add counts
/// two), by the kind of product that weights take. Zeros: not known.
struct DevicePeaks {
  double int8_gops = 0, f32_gops = 0, bf16_gops = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;
  /// Measures; takes a fraction of a second.
  virtual DevicePeaks measure_peaks() { return {}; }
  virtual const BackendInfo& info() const noexcept = 0;
  /// What is free where weights and KV pools lie, if that is not the host's memory. Not while a step runs.
  virtual std::optional<uint64_t> free_memory_bytes() { return std::nullopt; }
  /// Reads (from several threads) and repacks one tensor. Errors: kIo, kCorrupt, kUnsupported type, kTooLarge memory.
  virtual Result<std::unique_ptr<Weight>> upload(const HostTensor& tensor, WeightUse use) = 0;
  virtual Result<std::unique_ptr<KvPool>> create_kv_pool(const KvPoolSpec& spec) = 0;
  virtual Result<std::unique_ptr<Stream>> open_stream(const StreamLimits& limits) = 0;
};

}  // namespace kvasir
