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

  Started start(Step& step, const SublayerInput& in) const override {
    const Mat up = step.alloc(in.x.rows, c_.width);
    const Mat gate = c_.gated ? step.alloc(in.x.rows, c_.width) : Mat{};
    const LinearSpec parts[] = {up_.to(up), gate_.to(gate)};
    project(step, std::span(parts).first(c_.gated ? 2 : 1), in);
    return {up, gate, {}};
  }
  void finish(Step& step, const Started& started, const SublayerOutput& out) const override {
    const auto [up, gate, none] = started;
    const LinearSpec last[] = {down_.to(out)};
    if (c_.gated) step.stream.gated_linear(last, gate, up, c_.activation);
    else step.stream.activated_linear(last, up, c_.activation);
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
