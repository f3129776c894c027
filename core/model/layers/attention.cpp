// Grouped-query attention with what families add to it: QK-norm, biases, windows, soft-caps, sinks, output gates,
// shared caches. Vaswani et al. 2017; GQA arXiv:2305.13245.
#include "core/model/layers/sublayer.h"

namespace kvasir {
namespace {

class Attention final : public Sublayer {
 public:
  Attention(const AttentionConfig& config, const ModelConfig& model) : c_(config), model_(model) {}

  Result<void> plan(const LayerScope& scope) {
    const uint64_t width = model_.width, q_rows = q_cols() * (c_.output_gate ? 2U : 1U);
    const uint64_t k_rows = k_cols(), v_rows = v_cols(), all = q_rows + k_rows + v_rows;
    if (c_.kv_source) {
      KVASIR_TRY(plan_projection(q_, scope, "attn_q", q_rows, width));
    } else if (c_.fused_qkv) {
      KVASIR_TRY(plan_projection(q_, scope, "attn_qkv", q_rows, width, {0, all}));
      KVASIR_TRY(plan_projection(k_, scope, "attn_qkv", k_rows, width, {q_rows, all}));
      KVASIR_TRY(plan_projection(v_, scope, "attn_qkv", v_rows, width, {q_rows + k_rows, all}));
    } else {
      KVASIR_TRY(plan_projection(q_, scope, "attn_q", q_rows, width));
      KVASIR_TRY(plan_projection(k_, scope, "attn_k", k_rows, width));
      const bool has_values = !c_.value_is_key || scope.plan.contains(scope.weight("attn_v"));
      KVASIR_TRY(plan_projection(v_, scope, has_values ? "attn_v" : "attn_k", v_rows, width));
    }
    KVASIR_TRY(plan_projection(out_, scope, "attn_output", width, uint64_t{c_.heads} * c_.v_dim));
    KVASIR_TRY(plan_norms(scope));
    if (c_.sinks) KVASIR_TRY(scope.plan.vector(sinks_, scope.weight("attn_sinks"), c_.heads));
    plan_cache(scope);
    return {};
  }

  Started start(Step& step, const SublayerInput& in) const override {
    const uint32_t rows = in.x.rows;
    Mat q = step.alloc(rows, q_cols() * (c_.output_gate ? 2U : 1U));
    Mat k = c_.kv_source ? Mat{} : step.alloc(rows, k_cols());
    Mat v = c_.kv_source ? Mat{} : step.alloc(rows, v_cols());
    const LinearSpec parts[] = {q_.to(q), k_.to(k), v_.to(v)};
    project(step, std::span(parts).first(c_.kv_source ? 1 : 3), in);
    return {q, k, v};
  }

  void finish(Step& step, const Started& started, const SublayerOutput& out) const override {
    auto [q, k, v] = started;
    Mat gate;
    if (c_.output_gate) split_gate(step, q, gate);
    if (c_.qk_norm != QkNorm::kNone) step.stream.norm(q, q, qk_norm(q_norm_, c_.heads));
    store(step, q, k, v);
    Mat y = step.alloc(q.rows, c_.heads * c_.v_dim);
    step.stream.attention(y, q, {kv_layer_, c_.heads, c_.scale, c_.soft_cap, c_.window, sinks_, 0});
    if (c_.output_gate) step.stream.gated(y, gate, y, Activation::kSigmoid);
    const LinearSpec last[] = {out_.to(out)};
    step.stream.linear(last, y);
  }

 private:
  uint32_t q_cols() const { return c_.heads * c_.k_dim; }
  uint32_t k_cols() const { return c_.kv_heads * c_.k_dim; }
  uint32_t v_cols() const { return c_.kv_heads * c_.v_dim; }

  NormSpec qk_norm(const Weight* gain, uint32_t heads) const {
    return {model_.norm, gain, nullptr, model_.eps, c_.qk_norm == QkNorm::kPerHead ? heads : 1};
  }

  Result<void> plan_norms(const LayerScope& scope) {
    if (c_.qk_norm == QkNorm::kNone) return {};
    KVASIR_TRY(plan_norm(q_norm_, scope, "attn_q_norm", c_.heads));
    if (!c_.kv_source) KVASIR_TRY(plan_norm(k_norm_, scope, "attn_k_norm", c_.kv_heads));
    return {};
  }
  /// Per head the gain is shared by the heads, or (command-r-plus, stablelm-2-12b) each head has its own.
  Result<void> plan_norm(const Weight*& slot, const LayerScope& scope, std::string_view name, uint32_t heads) const {
    const FileTensor* t = scope.plan.file().find(scope.weight(name));
    const uint64_t all = uint64_t{heads} * c_.k_dim;
    const bool shared = c_.qk_norm == QkNorm::kPerHead && (t == nullptr || t->values() != all);
    return scope.plan.vector(slot, scope.weight(name), shared ? c_.k_dim : all);
  }

  void plan_cache(const LayerScope& scope) {
    if (c_.kv_source) {
      kv_layer_ = scope.kv_layer_of[*c_.kv_source];
    } else {
      kv_layer_ = static_cast<uint32_t>(scope.caches.layers.size());
      scope.caches.layers.push_back({scope.group_of_window(c_.window), c_.kv_heads, c_.k_dim, c_.v_dim, scope.index});
    }
    scope.kv_layer_of[scope.index] = kv_layer_;
  }

  /// Q came as [query, gate] per head.
  void split_gate(Step& step, Mat& q, Mat& gate) const {
    Mat both = q;
    q = step.alloc(both.rows, q_cols());
    gate = step.alloc(both.rows, q_cols());
    for (uint32_t h = 0; h < c_.heads; ++h) {
      step.stream.copy_columns(q, h * c_.k_dim, both, 2 * h * c_.k_dim, c_.k_dim);
      step.stream.copy_columns(gate, h * c_.k_dim, both, (2 * h + 1) * c_.k_dim, c_.k_dim);
    }
  }

  /// Norms and rotates, and writes the step's keys and values.
  void store(Step& step, Mat q, Mat k, Mat v) const {
    const RopeSpec rope = c_.rope ? model_.ropes[*c_.rope].spec() : RopeSpec{};
    if (c_.kv_source) {
      if (c_.rope) step.stream.rope(q, c_.heads, rope);
      return;
    }
    if (c_.qk_norm != QkNorm::kNone) step.stream.norm(k, k, qk_norm(k_norm_, c_.kv_heads));
    if (c_.value_norm) step.stream.norm(v, v, {NormKind::kRms, nullptr, nullptr, model_.eps, c_.kv_heads});
    if (c_.rope) {
      step.stream.rope_store(q, c_.heads, k, c_.kv_heads, v, kv_layer_, rope);
    } else {
      step.stream.store_kv(kv_layer_, k, v);
    }
  }

  AttentionConfig c_;
  const ModelConfig& model_;
  Projection q_, k_, v_, out_;
  const Weight* q_norm_ = nullptr;
  const Weight* k_norm_ = nullptr;
  const Weight* sinks_ = nullptr;
  uint32_t kv_layer_ = 0;
};

}  // namespace

Result<std::unique_ptr<Sublayer>> make_attention(const AttentionConfig& config, const LayerScope& scope) {
  auto layer = std::make_unique<Attention>(config, scope.config);
  KVASIR_TRY(layer->plan(scope));
  return std::unique_ptr<Sublayer>(std::move(layer));
}

}  // namespace kvasir
