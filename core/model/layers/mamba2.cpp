// Mamba-2 mixer: [z, xBC, dt] = W norm(x); a causal convolution over xBC; the selective scan; a norm gated by z.
// Dao & Gu 2024, arXiv:2405.21060.
#include "core/model/layers/sublayer.h"

namespace kvasir {
namespace {

class Mamba2 final : public WholeSublayer {
 public:
  Mamba2(const RecurrentConfig& config, const ModelConfig& model) : c_(config), model_(model) {}

  Result<void> plan(const LayerScope& scope) {
    const uint64_t width = model_.width, inner = inner_size(), mixed = conv_size(), all = inner + mixed + c_.heads;
    KVASIR_TRY(plan_projection(z_, scope, "ssm_in", inner, width, {0, all}));
    KVASIR_TRY(plan_projection(xbc_, scope, "ssm_in", mixed, width, {inner, all}));
    KVASIR_TRY(plan_projection(dt_, scope, "ssm_in", c_.heads, width, {inner + mixed, all}));
    KVASIR_TRY(scope.plan.taps(conv_.taps, scope.weight("ssm_conv1d"), mixed, c_.taps));
    KVASIR_TRY(scope.plan.optional_vector(conv_.bias, scope.bias("ssm_conv1d"), mixed));
    KVASIR_TRY(scope.plan.vector(scan_.a_log_or_a, scope.prefix() + "ssm_a", c_.heads));
    KVASIR_TRY(scope.plan.vector(scan_.d, scope.prefix() + "ssm_d", c_.heads));
    KVASIR_TRY(scope.plan.vector(scan_.dt_bias, scope.bias("ssm_dt"), c_.heads));
    KVASIR_TRY(scope.plan.vector(norm_, scope.weight("ssm_norm"), inner));
    KVASIR_TRY(plan_projection(out_, scope, "ssm_out", width, inner));
    conv_.activation = Activation::kSilu;
    conv_.state_layer = scan_.state_layer = static_cast<uint32_t>(scope.caches.state_floats.size());
    scan_.state_offset = conv_size() * (c_.taps - 1);
    scan_.heads = c_.heads;
    scan_.head_dim = c_.head_dim;
    scan_.state_dim = c_.state_dim;
    scan_.groups = c_.groups;
    scope.caches.state_floats.push_back(scan_.state_offset + inner * c_.state_dim);
    scope.caches.state_layers.push_back(scope.index);
    return {};
  }

  void run(Step& step, const SublayerInput& in, const SublayerOutput& out) const override {
    const uint32_t rows = in.x.rows, inner = inner_size(), bc = c_.groups * c_.state_dim;
    Mat z = step.alloc(rows, inner), xbc = step.alloc(rows, conv_size()), dt = step.alloc(rows, c_.heads);
    const LinearSpec parts[] = {z_.to(z), xbc_.to(xbc), dt_.to(dt)};
    project(step, parts, in);
    Mat mixed = step.alloc(rows, conv_size()), y = step.alloc(rows, inner);
    step.stream.conv(mixed, xbc, conv_);
    step.stream.scan(y, columns(mixed, 0, inner), columns(mixed, inner, bc), columns(mixed, inner + bc, bc), dt, scan_);
    step.stream.gated(y, z, y, Activation::kSilu);
    step.stream.norm(y, y, {NormKind::kRms, norm_, nullptr, model_.eps, c_.groups});
    const LinearSpec last[] = {out_.to(out)};
    step.stream.linear(last, y);
  }

 private:
  uint32_t inner_size() const { return c_.heads * c_.head_dim; }
  uint32_t conv_size() const { return inner_size() + 2 * c_.groups * c_.state_dim; }

  RecurrentConfig c_;
  const ModelConfig& model_;
  ConvSpec conv_;
  ScanSpec scan_;
  Projection z_, xbc_, dt_, out_;
  const Weight* norm_ = nullptr;
};

}  // namespace

Result<std::unique_ptr<Sublayer>> make_mamba2(const RecurrentConfig& config, const LayerScope& scope) {
  auto layer = std::make_unique<Mamba2>(config, scope.config);
  KVASIR_TRY(layer->plan(scope));
  return std::unique_ptr<Sublayer>(std::move(layer));
}

}  // namespace kvasir
