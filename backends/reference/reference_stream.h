// The reference backend's stream: every op runs at once, in plain loops, with sums in double; every shape is checked. It
// is the oracle of the other backends and the documentation of each op. One row is one token; engine thread only.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "backends/reference/reference_kv.h"

namespace kvasir::reference {

/// act(x), exact.
double activation(Activation act, double x) noexcept;
/// act(gate) * up, with gpt-oss' clamped form.
double gated_activation(Activation act, double gate, double up) noexcept;

class ReferenceStream final : public Stream {
 public:
  void begin(const StepLayout& layout, KvPool* pool) noexcept override;
  Mat alloc(uint32_t rows, uint32_t cols) noexcept override;
  Result<void> finish() noexcept override;
  void download(std::span<float> into, Mat x) noexcept override;
  void upload(Mat y, std::span<const float> from) noexcept override;

  void embed(Mat y, const Weight& table, std::span<const TokenId> ids, float scale) noexcept override;
  void add_positions(Mat y, const Weight& table, uint32_t offset) noexcept override;
  void norm(Mat y, Mat x, const NormSpec& spec) noexcept override;
  void linear(std::span<const LinearSpec> parts, Mat x) noexcept override;
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
  void attention(Mat y, Mat q, const AttentionSpec& spec) noexcept override;
  void moe(Mat y, Mat x, const MoeSpec& spec) noexcept override;
  void conv(Mat y, Mat x, const ConvSpec& spec) noexcept override;
  void scan(Mat y, Mat x, Mat b, Mat c, Mat dt, const ScanSpec& spec) noexcept override;
  void delta(Mat y, Mat q, Mat k, Mat v, Mat g, Mat beta, const DeltaSpec& spec) noexcept override;

 protected:
  void unsupported(const char* op) noexcept override;

 private:
  /// Records the first broken precondition and says whether the op may run.
  bool check(bool fine, const char* what) noexcept;
  bool same_shape(Mat a, Mat b, const char* op) noexcept;
  bool is_vector(const Weight* weight, uint64_t values, const char* op) noexcept;
  /// Position of each row of the step.
  uint32_t position(uint32_t row) const noexcept { return positions_[row]; }
  /// The cache row of `slot` for a sequence, or null (with the sticky error set) if its page is not there.
  float* cache_row(const SequenceRows& sequence, uint32_t kv_layer, uint32_t slot) noexcept;
  /// The same decoded, of any page; false with the sticky error set if it is not there.
  bool read_cache(const SequenceRows& sequence, uint32_t kv_layer, uint32_t slot, std::vector<float>& into) noexcept;
  bool add_mass(AttentionMass& mass, uint32_t t, uint32_t kv_layer, uint32_t kv_head, uint32_t first_slot,
                const std::vector<double>& scores, double sum) noexcept;
  float* layer_state(const SequenceRows& sequence, uint32_t state_layer, uint64_t offset, uint64_t floats) noexcept;

  StepLayout layout_;
  std::vector<uint32_t> positions_;
  ReferenceKvPool* pool_ = nullptr;
  std::vector<std::unique_ptr<float[]>> arena_;
  std::optional<Error> error_;
};

}  // namespace kvasir::reference
