// One half of a block, a token mixer or a feed-forward part, as the block sees it: it reads norm(x) and adds its result
// to the residual, or hands it over for a norm. Weights are registered with the plan when made and are there once the
// plan is uploaded. Immutable afterwards; engine thread only while running.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "core/model/model_config.h"
#include "core/model/weight_plan.h"

namespace kvasir {

/// One forward pass while it is recorded: the stream, and scratch matrices that every layer uses again (ops run in
/// order, so a layer may overwrite what the one before it left). Lives until the stream has finished, which may read
/// from it.
class Step {
 public:
  /// `rows` tokens with a residual of `width` columns.
  Step(Stream& s, uint32_t rows, uint32_t width) : stream(s), rows_(rows), width_(width) {}
  Mat alloc(uint32_t rows, uint32_t cols) {
    for (Scratch& s : std::span(scratch_).first(kept_)) {
      if (s.taken || s.mat.rows != rows || s.mat.cols != cols) continue;
      s.taken = true;
      return s.mat;
    }
    const Mat fresh = stream.alloc(rows, cols);
    if (kept_ < scratch_.size()) scratch_[kept_++] = {fresh, true};  // more shapes than that are just not used again
    return fresh;
  }
  /// The end of a block: all scratch is free again.
  void release() {
    for (Scratch& s : std::span(scratch_).first(kept_)) s.taken = false;
  }
  /// What follows belongs to `part`. The residual and per_layer may move; other matrices of the step are not kept then.
  void enter(const ModelPart& part, Mat& x) {
    Mat live[] = {x, per_layer};
    if (!stream.enter(part, std::span(live).first(per_layer.data != nullptr ? 2 : 1))) return;
    x = live[0];
    per_layer = live[1];
    kept_ = 0;
  }
  /// Token id 0 for every row.
  std::span<const TokenId> zero_ids() {
    zero_ids_.resize(rows_);
    return zero_ids_;
  }
  /// y = 0, for a y of the residual's shape.
  void zero(Mat y) {
    zeros_.resize(static_cast<size_t>(rows_) * width_);
    stream.upload(y, zeros_);
  }

  Stream& stream;
  Mat per_layer;  ///< gemma4: token embeddings of all layers, side by side

 private:
  struct Scratch {
    Mat mat;
    bool taken = false;
  };
  uint32_t rows_, width_;
  std::array<Scratch, 48> scratch_;  ///< inside, so that a step takes nothing from the heap
  size_t kept_ = 0;
  std::vector<TokenId> zero_ids_;
  std::vector<float> zeros_;
};

/// What a sublayer computes on: norm(x), or x itself where there is no norm (or it was taken already).
struct SublayerInput {
  Mat x;
  const NormSpec* norm = nullptr;
};

/// Where its last projection goes: y = scale * result, or y += scale * result.
struct SublayerOutput {
  Mat y;
  bool accumulate = false;
  float scale = 1.0F;
};

/// norm(x) as a matrix of its own, for ops that read it more than once.
inline Mat normed(Step& step, const SublayerInput& in) {
  if (in.norm == nullptr) return in.x;
  Mat y = step.alloc(in.x.rows, in.x.cols);
  step.stream.norm(y, in.x, *in.norm);
  return y;
}

/// What start() leaves for finish().
struct Started {
  Mat a, b, c;
};

class Sublayer {
 public:
  virtual ~Sublayer() = default;
  /// In two parts, for parallel blocks: start() reads in.x, and finish() no longer does.
  virtual Started start(Step& step, const SublayerInput& in) const = 0;
  virtual void finish(Step& step, const Started& started, const SublayerOutput& out) const = 0;
  virtual void run(Step& step, const SublayerInput& in, const SublayerOutput& out) const { finish(step, start(step, in), out); }
};

/// One that is done in one go; in two parts, only its norm comes first.
class WholeSublayer : public Sublayer {
 public:
  void run(Step& step, const SublayerInput& in, const SublayerOutput& out) const override = 0;
  Started start(Step& step, const SublayerInput& in) const final { return {normed(step, in), {}, {}}; }
  void finish(Step& step, const Started& started, const SublayerOutput& out) const final { run(step, {started.a, nullptr}, out); }
};

/// What a layer's maker may see: its place, the plan, and the caches that earlier layers opened.
struct LayerScope {
  WeightPlan& plan;
  const ModelConfig& config;
  uint32_t index = 0;
  KvPoolSpec& caches;  ///< layers own entries of `layers` and `state_floats`; groups are numbered here already
  const std::vector<uint32_t>& group_windows;
  std::vector<uint32_t>& kv_layer_of;  ///< per model layer: its entry in caches.layers

  std::string prefix() const { return "blk." + std::to_string(index) + "."; }
  std::string weight(std::string_view name) const { return prefix() + std::string(name) + ".weight"; }
  std::string bias(std::string_view name) const { return prefix() + std::string(name) + ".bias"; }
  uint32_t group_of_window(uint32_t window) const {
    for (uint32_t g = 0; g < group_windows.size(); ++g) {
      if (group_windows[g] == window) return g;
    }
    return 0;
  }
};

Result<std::unique_ptr<Sublayer>> make_attention(const AttentionConfig& config, const LayerScope& scope);
Result<std::unique_ptr<Sublayer>> make_mla(const MlaConfig& config, const LayerScope& scope);
Result<std::unique_ptr<Sublayer>> make_short_conv(const RecurrentConfig& config, const LayerScope& scope);
Result<std::unique_ptr<Sublayer>> make_mamba2(const RecurrentConfig& config, const LayerScope& scope);
Result<std::unique_ptr<Sublayer>> make_delta_net(const RecurrentConfig& config, const LayerScope& scope);
Result<std::unique_ptr<Sublayer>> make_dense(const FeedForwardConfig& config, const LayerScope& scope);
Result<std::unique_ptr<Sublayer>> make_moe(const FeedForwardConfig& config, const LayerScope& scope);
/// parts = W norm(x): one wide op where there is a norm.
inline void project(Step& step, std::span<const LinearSpec> parts, const SublayerInput& in) {
  if (in.norm != nullptr) {
    step.stream.norm_linear(parts, in.x, *in.norm);
  } else {
    step.stream.linear(parts, in.x);
  }
}

/// Columns [first, first + count) of a matrix.
inline Mat columns(Mat x, uint32_t first, uint32_t count) {
  return {x.data + first, x.rows, count, x.stride};
}

/// A projection with its optional bias.
struct Projection {
  const Weight* weight = nullptr;
  const Weight* bias = nullptr;
  LinearSpec to(Mat y) const { return {y, weight, bias, false, 1.0F}; }
  LinearSpec to(const SublayerOutput& out) const { return {out.y, weight, bias, out.accumulate, out.scale}; }
};

/// blk.N.<name>.weight [rows, cols] and, where present, its bias.
inline Result<void> plan_projection(Projection& p, const LayerScope& scope, std::string_view name, uint64_t rows,
                                    uint64_t cols, RowView view = {}) {
  KVASIR_TRY(scope.plan.matrix(p.weight, scope.weight(name), rows, cols, view));
  return scope.plan.optional_vector(p.bias, scope.bias(name), rows, view);
}

}  // namespace kvasir
