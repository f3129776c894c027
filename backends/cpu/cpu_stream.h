// Records the ops of a step, then runs all of them inside one parallel region, with barriers only between ops that
// depend on each other (by the memory ranges they read and write). Engine thread only. The step's layout, and what
// upload() and download() name, must live until finish().
//
// Ops are in stream_<area>.cpp: rows (norms, activations, copies), linear, attention, moe, recurrent.
#pragma once

#include <atomic>
#include <initializer_list>
#include <new>
#include <optional>
#include <vector>

#include "backends/backend.h"
#include "backends/cpu/arena.h"
#include "backends/cpu/cpu_kv_pool.h"
#include "backends/cpu/cpu_weight.h"
#include "backends/cpu/kernel_table.h"
#include "backends/cpu/parallel.h"

namespace kvasir::cpu {

/// What an op sees on each thread.
struct OpContext {
  const Worker& worker;
  const KernelTable& kernels;
  uint8_t* scratch;  ///< this thread's own, as large as the op asked for when it was recorded
};

/// Memory that an op reads or writes, for ordering.
struct Span {
  const void* begin = nullptr;
  const void* end = nullptr;
};

inline bool touches(const Span& a, const Span& b) noexcept { return a.begin < b.end && b.begin < a.end; }

/// Where the packed activations of a linear op lie (a tile view is an offset into these).
struct PackedRows {
  int8_t* q = nullptr;
  int8_t* q_super = nullptr;  // for kSuper kinds
  float* aux[kAuxKinds] = {};
  float* f = nullptr;
  uint16_t* h = nullptr;
};

/// Splits of one query tile that several threads compute; the last of them merges, in order.
struct MergeGroup {
  std::atomic<uint32_t> left{0};
  float* partials = nullptr;
  uint64_t partial_floats = 0;
  uint32_t splits = 0;
};

struct AttentionItem {
  AttentionArgs args;   // scratch is the thread's
  MergeGroup* group = nullptr;  // null: the item is whole
  uint32_t row = 0, kv_head = 0;
};

struct RopeStoreArgs;
/// A rope_store that no op has been recorded behind: if attention follows, its items do it.
struct DeferredRopeStore {
  const RopeStoreArgs* args = nullptr;
  uint32_t kv_layer = 0;
  Span table, kv;
};

/// How the rows that enter a linear op are made.
struct RowSource {
  enum class Kind : uint8_t { kPlain, kNorm, kGated, kActivated } kind = Kind::kPlain;
  Mat x;                     ///< kGated: the gate
  Mat up;                    ///< kGated
  NormSpec norm;             ///< kNorm
  Activation activation = Activation::kIdentity;
};

class CpuStream final : public Stream {
 public:
  CpuStream(const KernelTable& kernels, Team& team, Activations activations);

  void begin(const StepLayout& layout, KvPool* pool) noexcept override;
  Mat alloc(uint32_t rows, uint32_t cols) noexcept override;
  size_t mark() noexcept override { return matrices_.place(); }
  void release(size_t mark) noexcept override { matrices_.rewind(mark); }
  Result<void> finish() noexcept override;
  uint32_t barriers() const noexcept { return barriers_; }  ///< inside the last step that finish() ran
  void download(std::span<float> into, Mat x) noexcept override;
  void upload(Mat y, std::span<const float> from) noexcept override;

  void embed(Mat y, const Weight& table, std::span<const TokenId> ids, float scale) noexcept override;
  void add_positions(Mat y, const Weight& table, uint32_t offset) noexcept override;
  void norm(Mat y, Mat x, const NormSpec& spec) noexcept override;
  void linear(std::span<const LinearSpec> parts, Mat x) noexcept override;
  void norm_linear(std::span<const LinearSpec> parts, Mat x, const NormSpec& spec) noexcept override;
  void gated(Mat y, Mat gate, Mat up, Activation act) noexcept override;
  void gated_linear(std::span<const LinearSpec> parts, Mat gate, Mat up, Activation act) noexcept override;
  void activated_linear(std::span<const LinearSpec> parts, Mat x, Activation act) noexcept override;
  void activate(Mat y, Mat x, Activation act) noexcept override;
  void add(Mat y, Mat x, float scale) noexcept override;
  void multiply(Mat y, Mat x) noexcept override;
  void scale(Mat y, float factor) noexcept override;
  void soft_cap(Mat y, float cap) noexcept override;
  void copy_columns(Mat y, uint32_t y_col, Mat x, uint32_t x_col, uint32_t count) noexcept override;
  void gather_rows(Mat y, Mat x, std::span<const uint32_t> rows) noexcept override;

  void rope(Mat x, uint32_t heads, const RopeSpec& spec) noexcept override;
  void store_kv(uint32_t kv_layer, Mat k, Mat v) noexcept override;
  void rope_store(Mat q, uint32_t q_heads, Mat k, uint32_t kv_heads, Mat v, uint32_t kv_layer,
                  const RopeSpec& spec) noexcept override;
  void attention(Mat y, Mat q, const AttentionSpec& spec) noexcept override;

  void moe(Mat y, Mat x, const MoeSpec& spec) noexcept override;
  void conv(Mat y, Mat x, const ConvSpec& spec) noexcept override;
  void scan(Mat y, Mat x, Mat b, Mat c, Mat dt, const ScanSpec& spec) noexcept override;
  void delta(Mat y, Mat q, Mat k, Mat v, Mat g, Mat beta, const DeltaSpec& spec) noexcept override;

 protected:
  void unsupported(const char* op) noexcept override;

 private:
  using RunFunction = void (*)(const void* args, const OpContext& context);
  struct Op {
    RunFunction run;
    const void* args;
    bool barrier_before;
  };
  /// Cosines and sines of all rows of the step for one kind of rope.
  struct RopeTable {
    const float* frequencies;
    uint32_t dims;
    float magnitude;
    RopeKind kind;
    const float* values;  // [rows][2][dims]
  };

  // recording
  void fail(Code code, const char* message) noexcept;
  bool require(bool condition, const char* what) noexcept;
  template <class T>
  T* take(uint64_t count) noexcept {
    auto* at = reinterpret_cast<T*>(arena_.take(count * sizeof(T)));
    if (at == nullptr) fail(Code::kTooLarge, "out of memory for activations");
    return at;
  }
  template <class Args>
  Args* keep(const Args& args) noexcept {
    static_assert(std::is_trivially_destructible_v<Args>);
    auto* at = take<Args>(1);
    return at == nullptr ? nullptr : new (at) Args(args);
  }
  /// Appends `Args::run(args, context)`.
  template <class Args>
  void record(const Args& args, std::initializer_list<Span> reads, std::initializer_list<Span> writes) noexcept {
    const Args* kept = keep(args);
    if (kept != nullptr) append([](const void* a, const OpContext& c) { Args::run(*static_cast<const Args*>(a), c); }, kept, reads, writes);
  }
  void append(RunFunction run, const void* args, std::span<const Span> reads, std::span<const Span> writes) noexcept;
  void append(RunFunction run, const void* args, std::initializer_list<Span> reads, std::initializer_list<Span> writes) noexcept {
    append(run, args, std::span<const Span>(reads.begin(), reads.size()), std::span<const Span>(writes.begin(), writes.size()));
  }
  void need_scratch(uint64_t bytes) noexcept { scratch_needed_ = std::max(scratch_needed_, bytes); }
  uint8_t* take_packed(uint64_t bytes) noexcept;
  Shares* make_shares(uint64_t items, uint64_t chunk) noexcept;
  bool has_data(Mat x) noexcept { return require(x.data != nullptr || x.rows == 0, "matrix without memory"); }

  // parts of ops
  bool norm_args(const NormSpec& spec, Mat x, NormArgs& out, uint32_t* weight_step = nullptr) noexcept;
  void record_linear(std::span<const LinearSpec> parts, const RowSource& source) noexcept;
  const float* rope_values(const RopeSpec& spec) noexcept;
  void record_rope_store(Mat q, uint32_t q_heads, Mat k, uint32_t k_heads, Mat v, std::optional<uint32_t> kv_layer,
                         const RopeSpec& spec) noexcept;
  const uint32_t* page_slots(uint32_t group) noexcept;
  bool pages_there(const SequenceRows& sequence, uint32_t group, uint32_t window) noexcept;
  bool each_has_one_row() const noexcept;
  void flush_rope_store() noexcept;
  void add_attention_tile(AttentionArgs args, uint32_t row, uint32_t kv_head, bool split_up) noexcept;
  void record_mass(Mat q, const AttentionSpec& spec, AttentionMass& mass) noexcept;
  Span kv_span(uint32_t kv_layer) const noexcept;
  bool kv_usable(uint32_t kv_layer) noexcept;
  bool state_usable(uint32_t state_layer, uint64_t first, uint64_t floats) noexcept;
  template <class Rows>
  const Rows* state_rows(uint32_t state_layer, uint32_t state_offset) noexcept;
  bool moe_usable(Mat y, Mat x, const MoeSpec& spec) noexcept;
  Span state_span(uint32_t state_layer) const noexcept;

  const KernelTable& kernels_;
  Team& team_;
  const bool exact_;  // Activations::kF32

  const StepLayout* layout_ = nullptr;
  CpuKvPool* pool_ = nullptr;
  const uint32_t* positions_ = nullptr;  // [rows] rope position
  Arena arena_;     // arguments, cursors, small tables: until the next begin()
  Arena matrices_;  // what alloc() gives out; ordering by address sees the reuse after release()
  std::vector<Op> ops_;
  std::vector<Span> pending_reads_, pending_writes_;  // since the last barrier
  std::vector<Span> reads_, writes_;                   // of the op being recorded, where it has many
  DeferredRopeStore deferred_;
  std::vector<RopeTable> rope_tables_;
  std::vector<const uint32_t*> slots_of_group_;  // per group, where each row is stored
  std::vector<AttentionItem> attention_items_;
  std::vector<AlignedBuffer> packed_;   // the last one serves every linear op; ordering sees the reuse
  std::vector<AlignedBuffer> scratch_;  // per thread
  uint64_t scratch_needed_ = 0;
  uint32_t barriers_ = 0;
  std::optional<Error> error_;
};

inline Span span_of(Mat x) noexcept {
  if (x.data == nullptr || x.rows == 0) return {};
  return {x.data, x.data + (x.rows - 1) * x.stride + x.cols};
}
inline const CpuWeight& cpu_weight(const Weight& weight) noexcept { return static_cast<const CpuWeight&>(weight); }
inline const float* values_or_null(const Weight* weight) noexcept {
  return weight == nullptr ? nullptr : cpu_weight(*weight).values();
}
inline float* row_of(Mat x, uint64_t row) noexcept { return x.data + row * x.stride; }

// The way from rows to packed activations, shared by linear() and moe() (stream_linear.cpp).
struct PackPlan {
  uint32_t k = 0;
  uint32_t kinds = 0;  ///< bit per Aux
  bool exact = false;  ///< f32 copies are wanted
  bool half = false;   ///< bf16 copies are wanted
};
/// Bytes for `rows` packed rows, and the pointers into them.
uint64_t packed_bytes(const PackPlan& plan, uint64_t rows) noexcept;
PackedRows packed_at(const PackPlan& plan, uint64_t rows, uint8_t* memory) noexcept;
/// Writes row `x` as column `column` of the tile that starts at packed row `first`.
void pack_row(const KernelTable& kernels, const PackPlan& plan, const PackedRows& to, uint64_t first, uint32_t columns,
              uint32_t column, const float* x) noexcept;
/// Adds what a weight's format needs.
void plan_for(const KernelTable& kernels, const CpuWeight& weight, bool exact, PackPlan& plan) noexcept;
/// Points `args` at the copy of the rows that `weight` wants, from packed row `first` on, and multiplies.
void multiply_panels(const KernelTable& kernels, const PackPlan& plan, const PackedRows& packed, uint64_t first, const CpuWeight& weight,
                     bool exact, LinearArgs args, uint64_t panel_begin, uint64_t panel_end, uint32_t tile_begin, uint32_t tile_end) noexcept;
inline uint32_t tile_count(uint32_t columns, uint32_t tile_columns) noexcept { return (columns + tile_columns - 1) / tile_columns; }

}  // namespace kvasir::cpu
