// The dense feed-forward part: gated (SwiGLU and kin, arXiv:2002.05202) or plain.
#include "core/model/layers/sublayer.h"

namespace kvasir {
namespace {

class Dense final : public Sublayer {
 public:
  explicit Dense(const FeedForwardConfig& config) : c_(config) {}

  Result<void> plan(const LayerScope& scope) {
    const uint64_t width = scope.config.width, hidden = c_.width;
    if (c_.gated && c_.fused_gate_up) {
      KVASIR_TRY(plan_projection(gate_, scope, "ffn_up", hidden, width, {0, 2 * hidden}));
      KVASIR_TRY(plan_projection(up_, scope, "ffn_up", hidden, width, {hidden, 2 * hidden}));
    } else {
      if (c_.gated) KVASIR_TRY(plan_projection(gate_, scope, "ffn_gate", hidden, width));
      KVASIR_TRY(plan_projection(up_, scope, "ffn_up", hidden, width));
    }
    return plan_projection(down_, scope, "ffn_down", width, hidden);
  }

  void run(Step& step, const SublayerInput& in, const SublayerOutput& out) const override {
    Mat up = step.alloc(in.x.rows, c_.width);
    const LinearSpec last[] = {down_.to(out)};
    if (c_.gated) {
      Mat gate = step.alloc(in.x.rows, c_.width);
      const LinearSpec parts[] = {gate_.to(gate), up_.to(up)};
      project(step, parts, in);
      step.stream.gated_linear(last, gate, up, c_.activation);
      return;
    }
    const LinearSpec parts[] = {up_.to(up)};
    project(step, parts, in);
    step.stream.activate(up, up, c_.activation);
    step.stream.linear(last, up);
  }

 private:
  FeedForwardConfig c_;
  Projection gate_, up_, down_;
};

}  // namespace

Result<std::unique_ptr<Sublayer>> make_dense(const FeedForwardConfig& config, const LayerScope& scope) {
  auto layer = std::make_unique<Dense>(config);
  KVASIR_TRY(layer->plan(scope));
  return std::unique_ptr<Sublayer>(std::move(layer));
}

}  // namespace kvasir
