// The streams of all places as one. Ops go to the place where the model says it is; entering a part that lies elsewhere
// finishes what was recorded, carries the living matrices through host memory, and begins in the other place. Matrices and
// weights are those of the place. Engine thread only. After an error nothing more is run; finish() gives it.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "backends/split/split_kv_pool.h"

namespace kvasir::split {

class SplitStream final : public Stream {
 public:
  SplitStream(std::vector<std::unique_ptr<Stream>> streams, const SplitPlacement& placement)
      : streams_(std::move(streams)), placement_(placement) {}

  void begin(const StepLayout& layout, KvPool* pool) noexcept override;
  bool enter(const ModelPart& part, std::span<Mat> live) noexcept override;
  Result<void> finish() noexcept override;
  Mat alloc(uint32_t rows, uint32_t cols) noexcept override { return here().alloc(rows, cols); }
  size_t mark() noexcept override { return here().mark(); }
  void release(size_t mark) noexcept override { here().release(mark); }
  void download(std::span<float> into, Mat x) noexcept override { here().download(into, x); }
  void upload(Mat y, std::span<const float> from) noexcept override { here().upload(y, from); }
  uint32_t most_candidates() const noexcept override { return streams_[placement_.head]->most_candidates(); }
  void best(std::span<Candidate> into, Mat x, uint32_t count) noexcept override { here().best(into, x, count); }

  void embed(Mat y, const Weight& table, std::span<const TokenId> ids, float scale) noexcept override { here().embed(y, table, ids, scale); }
  void add_positions(Mat y, const Weight& table, uint32_t offset) noexcept override { here().add_positions(y, table, offset); }
  void norm(Mat y, Mat x, const NormSpec& spec) noexcept override { here().norm(y, x, spec); }
  void linear(std::span<const LinearSpec> parts, Mat x) noexcept override { here().linear(parts, x); }
  void norm_linear(std::span<const LinearSpec> parts, Mat x, const NormSpec& spec) noexcept override { here().norm_linear(parts, x, spec); }
  void gated(Mat y, Mat gate, Mat up, Activation act) noexcept override { here().gated(y, gate, up, act); }
  void gated_linear(std::span<const LinearSpec> parts, Mat gate, Mat up, Activation act) noexcept override { here().gated_linear(parts, gate, up, act); }
  void activate(Mat y, Mat x, Activation act) noexcept override { here().activate(y, x, act); }
  void add(Mat y, Mat x, float scale) noexcept override { here().add(y, x, scale); }
  void multiply(Mat y, Mat x) noexcept override { here().multiply(y, x); }
  void scale(Mat y, float factor) noexcept override { here().scale(y, factor); }
  void soft_cap(Mat y, float cap) noexcept override { here().soft_cap(y, cap); }
  void copy_columns(Mat y, uint32_t y_col, Mat x, uint32_t x_col, uint32_t count) noexcept override { here().copy_columns(y, y_col, x, x_col, count); }
  void gather_rows(Mat y, Mat x, std::span<const uint32_t> rows) noexcept override { here().gather_rows(y, x, rows); }
  void moe(Mat y, Mat x, const MoeSpec& spec) noexcept override { here().moe(y, x, spec); }
  void rope(Mat x, uint32_t heads, const RopeSpec& spec) noexcept override { here().rope(x, heads, spec); }

  void store_kv(uint32_t kv_layer, Mat k, Mat v) noexcept override;
  void rope_store(Mat q, uint32_t q_heads, Mat k, uint32_t kv_heads, Mat v, uint32_t kv_layer, const RopeSpec& spec) noexcept override;
  void attention(Mat y, Mat q, const AttentionSpec& spec) noexcept override;
  void conv(Mat y, Mat x, const ConvSpec& spec) noexcept override;
  void scan(Mat y, Mat x, Mat b, Mat c, Mat dt, const ScanSpec& spec) noexcept override;
  void delta(Mat y, Mat q, Mat k, Mat v, Mat g, Mat beta, const DeltaSpec& spec) noexcept override;

 protected:
  void unsupported(const char* op) noexcept override { fail({Code::kUnsupported, std::string("op not supported by this backend: ") + op}); }

 private:
  Stream& here() noexcept { return *streams_[place_]; }
  void fail(Error error) noexcept {
    if (!error_) error_ = std::move(error);
  }
  void begin_here() noexcept;
  void finish_here() noexcept;
  /// The index that this place knows a cache (or state) by; nothing, and an error, if it lies elsewhere.
  std::optional<uint32_t> local(bool state, uint32_t index) noexcept;

  std::vector<std::unique_ptr<Stream>> streams_;
  SplitPlacement placement_;
  uint32_t place_ = 0;
  const StepLayout* layout_ = nullptr;
  SplitKvPool* pool_ = nullptr;
  StepLayout local_layout_;                  ///< of the place that records now
  std::vector<AttentionMass> local_masses_;  ///< by the layout's
  std::vector<std::vector<float>> carried_;  ///< matrices on their way; kept for their memory
  std::optional<Error> error_;
};

}  // namespace kvasir::split
