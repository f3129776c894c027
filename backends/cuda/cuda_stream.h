// Turns a step's ops into a StepProgram and runs it: everything that changes from step to step (positions, page tables,
// ids, uploads) goes to the device in one copy, then kernels, then one copy back. finish() is the only wait. Steps of the
// same shape give the same program and are replayed as a graph. Engine thread only.
//
// Ops are in stream_<area>.cpp: rows, linear, attention, experts, state (recurrent ops).
#pragma once

#include <optional>
#include <vector>

#include "backends/backend.h"
#include "backends/cuda/cuda_kv_pool.h"
#include "backends/cuda/cuda_weight.h"
#include "backends/cuda/graph_runner.h"
#include "backends/cuda/half_copies.h"
#include "backends/cuda/step_memory.h"
#include "backends/cuda/step_program.h"

namespace kvasir::cuda {

/// How more rows than are streamed pass: rounded to 16 bits, for a library of products (where there is one) and attention
/// on tensor cores, or through the kernels that take few rows, slow and exact.
enum class Prompts : uint8_t { kHalf, kExact };

struct StreamOptions {
  Activations activations = Activations::kAuto;
  GraphRunner::Mode graphs = GraphRunner::Mode::kGraphs;
  StepProgram::Overlap overlap = StepProgram::Overlap::kKernels;  ///< where the chip can
  Prompts prompts = Prompts::kHalf;
  uint64_t arena_bytes = uint64_t{32} << 20;   ///< first chunk of activation memory
  uint64_t mirror_bytes = uint64_t{1} << 20;   ///< first chunk of what goes in and out
};

class CudaStream final : public Stream {
 public:
  CudaStream(Device& device, const StreamOptions& options, HalfCopies& copies);
  ~CudaStream() override { copies_.settle(filling_, false); }

  void begin(const StepLayout& layout, KvPool* pool) noexcept override;
  Mat alloc(uint32_t rows, uint32_t cols) noexcept override;
  size_t mark() noexcept override { return arena_.place(); }
  void release(size_t mark) noexcept override { arena_.rewind(mark); }
  Result<void> finish() noexcept override;
  void download(std::span<float> into, Mat x) noexcept override;
  void upload(Mat y, std::span<const float> from) noexcept override;

  uint32_t most_candidates() const noexcept override { return kMostCandidates; }
  void best(std::span<Candidate> into, Mat x, uint32_t count) noexcept override;

  void embed(Mat y, const Weight& table, std::span<const TokenId> ids, float scale) noexcept override;
  void add_positions(Mat y, const Weight& table, uint32_t offset) noexcept override;
  void norm(Mat y, Mat x, const NormSpec& spec) noexcept override;
  void linear(std::span<const LinearSpec> parts, Mat x) noexcept override;
  void norm_linear(std::span<const LinearSpec> parts, Mat x, const NormSpec& spec) noexcept override;
  void gated_linear(std::span<const LinearSpec> parts, Mat gate, Mat up, Activation act) noexcept override;
  void gated(Mat y, Mat gate, Mat up, Activation act) noexcept override;
  void activate(Mat y, Mat x, Activation act) noexcept override;
  void add(Mat y, Mat x, float scale) noexcept override;
  void multiply(Mat y, Mat x) noexcept override;
  void scale(Mat y, float factor) noexcept override;
  void soft_cap(Mat y, float cap) noexcept override;
  void copy_columns(Mat y, uint32_t y_col, Mat x, uint32_t x_col, uint32_t count) noexcept override;
  void gather_rows(Mat y, Mat x, std::span<const uint32_t> rows) noexcept override;

  void rope(Mat x, uint32_t heads, const RopeSpec& spec) noexcept override;
  void store_kv(uint32_t kv_layer, Mat k, Mat v) noexcept override;
  void rope_store(Mat q, uint32_t q_heads, Mat k, uint32_t kv_heads, Mat v, uint32_t kv_layer, const RopeSpec& spec) noexcept override;
  void attention(Mat y, Mat q, const AttentionSpec& spec) noexcept override;

  void moe(Mat y, Mat x, const MoeSpec& spec) noexcept override;
  void conv(Mat y, Mat x, const ConvSpec& spec) noexcept override;
  void scan(Mat y, Mat x, Mat b, Mat c, Mat dt, const ScanSpec& spec) noexcept override;
  void delta(Mat y, Mat q, Mat k, Mat v, Mat g, Mat beta, const DeltaSpec& spec) noexcept override;

  const GraphRunner& graphs() const noexcept { return graphs_; }
  uint64_t arena_bytes() const noexcept { return arena_.bytes(); }
  uint32_t launches() const noexcept { return program_.launches(); }  ///< of the last step

 protected:
  void unsupported(const char* op) noexcept override;

 private:
  /// How the rows that enter a product are made: x, norm(x), or act(x) * up.
  struct LinearSource {
    RowSource kind = RowSource::kPlain;
    Mat x;
    const NormSpec* norm = nullptr;
    Mat up;
    Activation activation = Activation::kIdentity;
  };
  /// 8-bit rows in scratch memory, in groups of columns.
  struct Quantised {
    int8_t* q = nullptr;
    float* scales = nullptr;
    uint32_t group_columns = 0;
  };
  /// 16-bit rows in scratch memory.
  struct Halves {
    uint16_t* data = nullptr;
    float* factors = nullptr;
    FloatKind kind = FloatKind::kF16;
  };
  /// Rows with one of their experts each; with groups: in order.
  struct ExpertItems {
    uint32_t count = 0, groups_count = 0;
    const uint32_t* ids = nullptr;
    const uint32_t* order = nullptr;
    const ExpertGroup* groups = nullptr;
    bool wide = false;
  };
  struct Download {
    std::span<std::byte> into;
    const uint8_t* from;
  };

  void fail(Error error) noexcept;
  bool require(bool condition, const char* what) noexcept;
  bool has_data(Mat x) noexcept { return require(x.data != nullptr && x.rows > 0 && x.cols > 0 && x.rows <= kMaxRows, "matrix without memory, or with too many rows"); }
  bool same_shape(Mat a, Mat b) noexcept { return require(a.rows == b.rows && a.cols == b.cols, "shapes differ"); }
  /// Null, or a vector of `values` numbers.
  bool fits(const Weight* vector, uint64_t values) noexcept;
  /// Device memory until the next begin(), or until the arena is rewound.
  template <class T>
  T* scratch(uint64_t count) noexcept {
    auto memory = arena_.take(count * sizeof(T));
    if (!memory) fail(std::move(memory).error());
    return memory ? reinterpret_cast<T*>(*memory) : nullptr;
  }
  /// Puts host bytes where the device finds them from the start of the step; null on error.
  const void* bring_in(const void* from, uint64_t bytes) noexcept;
  template <class T>
  const T* bring_in(std::span<const T> from) noexcept {
    return static_cast<const T*>(bring_in(from.data(), from.size_bytes()));
  }
  template <class Args>
  Args& launch(KernelId kernel, Grid grid, uint32_t threads, uint32_t shared_bytes = 0) noexcept {
    return recorded_.launch<Args>(kernel, grid, threads, shared_bytes);
  }
  void copy_rows(Mat y, const float* x, uint64_t x_stride, const uint32_t* rows) noexcept;
  void lay_out_rows() noexcept;
  enum class PageUse : uint8_t { kRead, kWrite /* not aged ones */ };
  bool pages_there(uint32_t group, uint32_t window, PageUse use) noexcept;
  bool kv_usable(uint32_t kv_layer) noexcept;
  bool rope_fits(Mat x, uint32_t heads, const RopeSpec& spec) noexcept;
  RopeArgs rope_args(Mat x, uint32_t heads, const RopeSpec& spec, const float* frequencies) const noexcept;
  bool store_fits(uint32_t kv_layer, Mat k, Mat v) noexcept;
  StoreKvArgs store_args(uint32_t kv_layer, Mat k, Mat v) noexcept;
  KvLayerView kv_layer(uint32_t kv_layer) noexcept;
  /// The kernel for long runs of rows of this layer, if there is one.
  std::optional<uint32_t> prompt_kernel(const AttentionSpec& spec, const KvLayerSpec& layer) const noexcept;
  void prompt_attention(Mat y, Mat q, const AttentionSpec& spec, const KvLayerView& kv, uint32_t which) noexcept;
  void row_attention(Mat y, Mat q, const AttentionSpec& spec, const KvLayerView& kv, uint32_t first_row, uint32_t end_row) noexcept;
  void add_masses(Mat q, const AttentionSpec& spec, const KvLayerView& kv) noexcept;
  void add_mass(Mat q, const AttentionSpec& spec, const KvLayerView& kv, AttentionMass& mass) noexcept;
  bool linear_fits(std::span<const LinearSpec> parts, Mat x) noexcept;
  bool takes_quantised(const LinearSpec& part, uint32_t rows) const noexcept;
  /// Rows that one launch may take; 0: none.
  uint32_t gemv_columns(Stored type, uint32_t cols) const noexcept;
  uint32_t gemm_columns(Stored type, uint32_t cols) const noexcept;
  Quantised quantise(const LinearSource& source, uint32_t group_columns) noexcept;
  void linear_from(std::span<const LinearSpec> parts, const LinearSource& source) noexcept;
  void linear_exact(const LinearSpec& part, Mat x) noexcept;
  static uint32_t list_parts(std::span<const LinearSpec> parts, uint32_t first, GemvPart* to) noexcept;
  void gemv(std::span<const LinearSpec> parts, uint32_t rows, const Quantised& x) noexcept;
  void gemm(std::span<const LinearSpec> parts, uint32_t rows, const Quantised& x) noexcept;
  bool takes_product(const LinearSpec& part, uint32_t rows) noexcept;
  Halves to_halves(Mat x, FloatKind kind) noexcept;
  void library_product(const LinearSpec& part, uint32_t rows, const Halves& x) noexcept;
  bool moe_usable(Mat y, Mat x, const MoeSpec& spec) noexcept;
  bool takes_expert_gemm(const Weight& w, uint32_t rows, uint32_t experts) const noexcept;
  void route(Mat x, const MoeSpec& spec, uint32_t* ids, float* weights) noexcept;
  void group_experts(ExpertItems& items, uint32_t experts, uint32_t width) noexcept;
  void expert_gemm(const Weight& weight, const Weight* bias, Mat y, const Quantised& x, const ExpertItems& items, uint32_t items_per_x) noexcept;
  void expert_linear(const Weight& w, const Weight* bias, Mat y, Mat x, const ExpertItems& items, uint32_t items_per_x) noexcept;
  bool state_usable(uint32_t state_layer, uint64_t offset, uint64_t floats) noexcept;

  static constexpr uint32_t kFewRows = 64;  ///< up to so many rows weights are streamed, all with the same bits
  static constexpr uint32_t kMaxRows = 65535;  ///< a grid's second side
  static constexpr uint32_t kMostCandidates = 129;  ///< --top-k 128, and one to see that there are more

  Device& device_;
  const StreamOptions options_;
  HalfCopies& copies_;
  std::vector<uint64_t> filling_;  ///< weights whose copies this step decodes
  bool too_large_ = false;         ///< some step's memory was not to be had
  StepArena arena_;
  Mirror in_, out_;
  GraphRunner graphs_;
  StepProgram recorded_, program_;
  std::vector<Download> downloads_;
  std::vector<uint32_t> rows_scratch_;

  const StepLayout* layout_ = nullptr;
  CudaKvPool* pool_ = nullptr;
  StepTables tables_{};
  struct PageTable {
    const uint32_t* device = nullptr;
    uint32_t stride = 0;
  };
  std::vector<PageTable> page_tables_;  ///< per group; brought in when first needed
  struct MassPlace {
    const std::vector<float>* mass;  ///< whose sums these are
    float* sums;
    float* out;
  };
  std::vector<MassPlace> mass_places_;  ///< of this step
  std::optional<Error> error_;
};

inline MatView view_of(Mat x) noexcept { return {x.data, x.stride, x.rows, x.cols}; }
inline const float* values_or_null(const Weight* weight) noexcept {
  return weight == nullptr ? nullptr : cuda_weight(*weight).values();
}
constexpr uint32_t ceil_div(uint64_t a, uint32_t b) { return static_cast<uint32_t>((a + b - 1) / b); }

}  // namespace kvasir::cuda
