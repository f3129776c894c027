// Gated short convolution (LFM2): [B, C, x] = W norm(x); result = W' (C * conv(B * x)).
#include "core/model/layers/sublayer.h"

namespace kvasir {
namespace {

class ShortConv final : public WholeSublayer {
 public:
  ShortConv(const RecurrentConfig& config, uint32_t width) : width_(width), n_taps_(config.taps) {}

  Result<void> plan(const LayerScope& scope) {
    const uint64_t width = width_;
    KVASIR_TRY(plan_projection(b_, scope, "shortconv.in_proj", width, width, {0, 3 * width}));
    KVASIR_TRY(plan_projection(c_, scope, "shortconv.in_proj", width, width, {width, 3 * width}));
    KVASIR_TRY(plan_projection(x_, scope, "shortconv.in_proj", width, width, {2 * width, 3 * width}));
    KVASIR_TRY(scope.plan.taps(conv_.taps, scope.weight("shortconv.conv"), width, n_taps_));
    KVASIR_TRY(scope.plan.optional_vector(conv_.bias, scope.bias("shortconv.conv"), width));
    conv_.state_layer = static_cast<uint32_t>(scope.caches.state_floats.size());
    scope.caches.state_floats.push_back(width * (n_taps_ - 1));
    scope.caches.state_layers.push_back(scope.index);
    return plan_projection(out_, scope, "shortconv.out_proj", width, width);
  }

  void run(Step& step, const SublayerInput& in, const SublayerOutput& out) const override {
    Mat b = step.alloc(in.x.rows, width_), c = step.alloc(in.x.rows, width_), x = step.alloc(in.x.rows, width_);
    const LinearSpec parts[] = {b_.to(b), c_.to(c), x_.to(x)};
    project(step, parts, in);
    step.stream.multiply(x, b);
    step.stream.conv(b, x, conv_);
    step.stream.multiply(b, c);
    const LinearSpec last[] = {out_.to(out)};
    step.stream.linear(last, b);
  }

 private:
  uint32_t width_, n_taps_;
  ConvSpec conv_;
  Projection b_, c_, x_, out_;
};

}  // namespace

Result<std::unique_ptr<Sublayer>> make_short_conv(const RecurrentConfig& config, const LayerScope& scope) {
  auto layer = std::make_unique<ShortConv>(config, scope.config.width);
  KVASIR_TRY(layer->plan(scope));
  return std::unique_ptr<Sublayer>(std::move(layer));
}

}  // namespace kvasir
