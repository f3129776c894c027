// Gated DeltaNet mixer (Qwen3-Next, Qwen3.5): convolved and normalised q, k, v; the gated delta rule; a norm per head
// gated by z. Yang et al. 2024, arXiv:2412.06464.
#include <cmath>

#include "core/model/layers/sublayer.h"

namespace kvasir {
namespace {

constexpr float kL2Eps = 1e-6F;  // of the reference's l2norm(), whatever the model's epsilon

class DeltaNet final : public WholeSublayer {
 public:
  DeltaNet(const RecurrentConfig& config, const ModelConfig& model) : c_(config), model_(model) {}

  Result<void> plan(const LayerScope& scope) {
    const uint64_t width = model_.width;
    KVASIR_TRY(plan_projection(qkv_, scope, "attn_qkv", conv_size(), width));
    KVASIR_TRY(plan_projection(z_, scope, "attn_gate", v_size(), width));
    KVASIR_TRY(plan_beta_alpha(scope));
    KVASIR_TRY(scope.plan.row_table(a_, scope.prefix() + "ssm_a", c_.heads));
    KVASIR_TRY(scope.plan.taps(conv_.taps, scope.weight("ssm_conv1d"), conv_size(), c_.taps));
    KVASIR_TRY(scope.plan.vector(norm_, scope.weight("ssm_norm"), c_.head_dim));
    KVASIR_TRY(plan_projection(out_, scope, "ssm_out", width, v_size()));
    conv_.activation = Activation::kSilu;
    conv_.state_layer = delta_.state_layer = static_cast<uint32_t>(scope.caches.state_floats.size());
    delta_.state_offset = conv_size() * (c_.taps - 1);
    delta_.k_heads = c_.tiled_heads ? c_.heads : c_.groups;
    delta_.v_heads = c_.heads;
    delta_.k_dim = c_.state_dim;
    delta_.v_dim = c_.head_dim;
    scope.caches.state_floats.push_back(delta_.state_offset + uint64_t{c_.state_dim} * v_size());
    scope.caches.state_layers.push_back(scope.index);
    return {};
  }

  void run(Step& step, const SublayerInput& in, const SublayerOutput& out) const override {
    const uint32_t rows = in.x.rows;
    Mat qkv = step.alloc(rows, conv_size()), z = step.alloc(rows, v_size());
    Mat beta = step.alloc(rows, c_.heads), decay = step.alloc(rows, c_.heads);
    project_all(step, in, qkv, z, beta, decay);
    Mat mixed = step.alloc(rows, conv_size());
    step.stream.conv(mixed, qkv, conv_);
    Mat q = columns(mixed, 0, k_size()), k = columns(mixed, k_size(), k_size());
    normalise(step, mixed, q, k);
    if (c_.tiled_heads) {
      q = tile(step, q);
      k = tile(step, k);
    }
    step.stream.activate(beta, beta, Activation::kSigmoid);
    step.stream.activate(decay, decay, Activation::kSoftplus);
    Mat rate = step.alloc(rows, c_.heads);
    step.stream.embed(rate, *a_, step.zero_ids(), 1.0F);
    step.stream.multiply(decay, rate);
    Mat y = step.alloc(rows, v_size());
    step.stream.delta(y, q, k, columns(mixed, 2 * k_size(), v_size()), decay, beta, delta_);
    step.stream.norm(y, y, {NormKind::kRms, norm_, nullptr, model_.eps, c_.heads});
    step.stream.gated(y, z, y, Activation::kSilu);
    const LinearSpec last[] = {out_.to(out)};
    step.stream.linear(last, y);
  }

 private:
  uint32_t k_size() const { return c_.groups * c_.state_dim; }
  uint32_t v_size() const { return c_.heads * c_.head_dim; }
  uint32_t conv_size() const { return 2 * k_size() + v_size(); }

  /// Beta and alpha come as two tensors, or as one whose rows are, per key head, its betas and then its alphas.
  Result<void> plan_beta_alpha(const LayerScope& scope) {
    const uint64_t pieces = c_.fused_beta_alpha ? c_.groups : 1, size = c_.heads / pieces;
    beta_.resize(pieces);
    alpha_.resize(pieces);
    for (uint64_t g = 0; g < pieces; ++g) {
      const RowView first{2 * g * size, 2ULL * c_.heads}, second{(2 * g + 1) * size, 2ULL * c_.heads};
      const bool fused = c_.fused_beta_alpha;
      KVASIR_TRY(scope.plan.matrix(beta_[g].weight, scope.weight(fused ? "ssm_ba" : "ssm_beta"), size, model_.width,
                                   fused ? first : RowView{}));
      KVASIR_TRY(scope.plan.matrix(alpha_[g].weight, scope.weight(fused ? "ssm_ba" : "ssm_alpha"), size, model_.width,
                                   fused ? second : RowView{}));
      KVASIR_TRY(scope.plan.vector(alpha_[g].bias, scope.bias("ssm_dt"), size, {g * size, c_.heads}));
    }
    return {};
  }

  void project_all(Step& step, const SublayerInput& in, Mat qkv, Mat z, Mat beta, Mat alpha) const {
    std::vector<LinearSpec> parts = {qkv_.to(qkv), z_.to(z)};
    const auto size = static_cast<uint32_t>(c_.heads / beta_.size());
    for (uint32_t g = 0; g < beta_.size(); ++g) {
      parts.push_back(beta_[g].to(columns(beta, g * size, size)));
      parts.push_back(alpha_[g].to(columns(alpha, g * size, size)));
    }
    project(step, parts, in);
  }

  /// q and k to unit length, q also by 1/sqrt(k_dim). x / sqrt(sum + eps) is an RMS norm times 1/sqrt(n).
  void normalise(Step& step, Mat mixed, Mat q, Mat k) const {
    const float n = static_cast<float>(c_.state_dim);
    Mat both = columns(mixed, 0, 2 * k_size());
    step.stream.norm(both, both, {NormKind::kRms, nullptr, nullptr, kL2Eps / n, 2 * c_.groups});
    step.stream.scale(q, 1.0F / n);
    step.stream.scale(k, 1.0F / std::sqrt(n));
  }

  Mat tile(Step& step, Mat x) const {
    Mat y = step.alloc(x.rows, c_.heads * c_.state_dim);
    for (uint32_t at = 0; at < y.cols; at += k_size()) step.stream.copy_columns(y, at, x, 0, k_size());
    return y;
  }

  RecurrentConfig c_;
  const ModelConfig& model_;
  ConvSpec conv_;
  DeltaSpec delta_;
  Projection qkv_, z_, out_;
  std::vector<Projection> beta_, alpha_;  ///< sized before any slot is registered
  const Weight* a_ = nullptr;
  const Weight* norm_ = nullptr;
};

}  // namespace

Result<std::unique_ptr<Sublayer>> make_delta_net(const RecurrentConfig& config, const LayerScope& scope) {
  auto layer = std::make_unique<DeltaNet>(config, scope.config);
  KVASIR_TRY(layer->plan(scope));
  return std::unique_ptr<Sublayer>(std::move(layer));
}

}  // namespace kvasir
