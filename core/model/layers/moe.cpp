// Mixture of experts with an optional shared expert; routing happens inside the op. Mixtral arXiv:2401.04088,
// DeepSeekMoE arXiv:2401.06066.
#include "core/model/layers/sublayer.h"

namespace kvasir {
namespace {

class Moe final : public WholeSublayer {
 public:
  explicit Moe(const FeedForwardConfig& config) : c_(config) {
    spec_.router = c_.router;
    spec_.experts = c_.experts;
    spec_.top_k = c_.top_k;
    spec_.expert_groups = c_.expert_groups;
    spec_.top_groups = c_.top_groups;
    spec_.normalise = c_.normalise;
    spec_.weight_scale = c_.weight_scale;
    spec_.activation = c_.activation;
  }

  Result<void> plan(const LayerScope& scope) {
    WeightPlan& plan = scope.plan;
    const uint64_t width = scope.config.width, hidden = c_.width, n = c_.experts;
    KVASIR_TRY(plan.matrix(spec_.gate_inp, scope.weight("ffn_gate_inp"), n, width));
    KVASIR_TRY(plan.optional_vector(spec_.gate_inp_bias, scope.bias("ffn_gate_inp"), n));
    KVASIR_TRY(plan.optional_vector(spec_.select_bias, scope.bias("exp_probs_b"), n));
    if (c_.gated) {
      KVASIR_TRY(plan.experts(spec_.gate, scope.weight("ffn_gate_exps"), n, hidden, width));
      KVASIR_TRY(plan.optional_vector(spec_.gate_bias, scope.bias("ffn_gate_exps"), n * hidden));
    }
    KVASIR_TRY(plan.experts(spec_.up, scope.weight("ffn_up_exps"), n, hidden, width));
    KVASIR_TRY(plan.optional_vector(spec_.up_bias, scope.bias("ffn_up_exps"), n * hidden));
    KVASIR_TRY(plan.experts(spec_.down, scope.weight("ffn_down_exps"), n, width, hidden));
    KVASIR_TRY(plan.optional_vector(spec_.down_bias, scope.bias("ffn_down_exps"), n * width));
    if (c_.shared_width == 0) return {};
    KVASIR_TRY(plan_projection(shared_gate_, scope, "ffn_gate_shexp", c_.shared_width, width));
    KVASIR_TRY(plan_projection(shared_up_, scope, "ffn_up_shexp", c_.shared_width, width));
    KVASIR_TRY(plan_projection(shared_down_, scope, "ffn_down_shexp", width, c_.shared_width));
    if (c_.shared_gate) KVASIR_TRY(plan.matrix(shared_factor_, scope.weight("ffn_gate_inp_shexp"), 1, width));
    return {};
  }

  void run(Step& step, const SublayerInput& in, const SublayerOutput& out) const override {
    const Mat x = normed(step, in);
    // The op adds to what is there; where that is not the residual itself, the shared expert or zeros begin the sum.
    const bool direct = out.accumulate && out.scale == 1.0F;
    Mat y = direct ? out.y : step.alloc(x.rows, x.cols);
    if (c_.shared_width > 0) {
      shared(step, x, y, direct);
    } else if (!direct) {
      step.zero(y);
    }
    step.stream.moe(y, x, spec_);
    if (direct) return;
    if (out.accumulate) {
      step.stream.add(out.y, y, out.scale);
    } else {
      step.stream.copy_columns(out.y, 0, y, 0, y.cols);
      if (out.scale != 1.0F) step.stream.scale(out.y, out.scale);
    }
  }

 private:
  /// y = shared(x), or y += shared(x).
  void shared(Step& step, Mat x, Mat y, bool accumulate) const {
    Mat gate = step.alloc(x.rows, c_.shared_width), up = step.alloc(x.rows, c_.shared_width);
    Mat factor = c_.shared_gate ? step.alloc(x.rows, 1) : Mat{};
    const LinearSpec parts[] = {
        shared_gate_.to(gate), shared_up_.to(up), {factor, shared_factor_, nullptr, false, 1.0F}};
    step.stream.linear(std::span(parts).first(c_.shared_gate ? 3 : 2), x);
    if (!c_.shared_gate) {
      const LinearSpec last[] = {shared_down_.to(SublayerOutput{y, accumulate, 1.0F})};
      step.stream.gated_linear(last, gate, up, c_.activation);
      return;
    }
    Mat result = accumulate ? step.alloc(x.rows, x.cols) : y;
    const LinearSpec last[] = {shared_down_.to(result)};
    step.stream.gated_linear(last, gate, up, c_.activation);
    step.stream.activate(factor, factor, Activation::kSigmoid);
    step.stream.multiply(result, factor);
    if (accumulate) step.stream.add(y, result, 1.0F);
  }

  FeedForwardConfig c_;
  MoeSpec spec_;
  Projection shared_gate_, shared_up_, shared_down_;
  const Weight* shared_factor_ = nullptr;
};

}  // namespace

Result<std::unique_ptr<Sublayer>> make_moe(const FeedForwardConfig& config, const LayerScope& scope) {
  auto layer = std::make_unique<Moe>(config);
  KVASIR_TRY(layer->plan(scope));
  return std::unique_ptr<Sublayer>(std::move(layer));
}

}  // namespace kvasir
