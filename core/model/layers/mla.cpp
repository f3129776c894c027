// Multi-head latent attention in its absorbed form: queries are mapped into the latent space, so that the cache holds
// one latent and one rotated key per token for all heads. DeepSeek-V2, arXiv:2405.04434, section 2.1.
#include "core/model/layers/sublayer.h"

namespace kvasir {
namespace {

class Mla final : public WholeSublayer {
 public:
  Mla(const MlaConfig& config, const ModelConfig& model) : c_(config), model_(model) {}

  Result<void> plan(const LayerScope& scope) {
    const uint64_t width = model_.width, q_rows = uint64_t{c_.heads} * q_size();
    if (c_.query_rank > 0) {
      KVASIR_TRY(plan_projection(q_a_, scope, "attn_q_a", c_.query_rank, width));
      KVASIR_TRY(scope.plan.vector(q_norm_, scope.weight("attn_q_a_norm"), c_.query_rank));
      KVASIR_TRY(plan_projection(q_, scope, "attn_q_b", q_rows, c_.query_rank));
    } else {
      KVASIR_TRY(plan_projection(q_, scope, "attn_q", q_rows, width));
    }
    KVASIR_TRY(plan_projection(kv_, scope, "attn_kv_a_mqa", key_size(), width));
    KVASIR_TRY(scope.plan.vector(kv_norm_, scope.weight("attn_kv_a_norm"), c_.latent));
    if (!scope.plan.contains(scope.weight("attn_k_b"))) {
      return Failure(Code::kUnsupported,
                     "this file was made before attn_kv_b was split into attn_k_b and attn_v_b; "
                     "convert the model again");
    }
    key_maps_.resize(c_.heads);
    value_maps_.resize(c_.heads);
    for (uint32_t h = 0; h < c_.heads; ++h) {
      KVASIR_TRY(scope.plan.slice(key_maps_[h], scope.weight("attn_k_b"), h, c_.heads, c_.latent, c_.no_rope_dims));
      KVASIR_TRY(scope.plan.slice(value_maps_[h], scope.weight("attn_v_b"), h, c_.heads, c_.v_dim, c_.latent));
    }
    KVASIR_TRY(plan_projection(out_, scope, "attn_output", width, uint64_t{c_.heads} * c_.v_dim));
    kv_layer_ = static_cast<uint32_t>(scope.caches.layers.size());
    scope.caches.layers.push_back({scope.group_of_window(0), 1, key_size(), 0, scope.index});
    scope.kv_layer_of[scope.index] = kv_layer_;
    return {};
  }

  void run(Step& step, const SublayerInput& in, const SublayerOutput& out) const override {
    const uint32_t rows = in.x.rows;
    Mat q = step.alloc(rows, c_.heads * q_size()), key = step.alloc(rows, key_size());
    if (c_.query_rank > 0) {
      Mat compressed = step.alloc(rows, c_.query_rank);
      const LinearSpec parts[] = {q_a_.to(compressed), kv_.to(key)};
      project(step, parts, in);
      const LinearSpec expand[] = {q_.to(q)};
      step.stream.norm_linear(expand, compressed, {NormKind::kRms, q_norm_, nullptr, model_.eps, 1});
    } else {
      const LinearSpec parts[] = {q_.to(q), kv_.to(key)};
      project(step, parts, in);
    }
    Mat latent = columns(key, 0, c_.latent);
    step.stream.norm(latent, latent, {NormKind::kRms, kv_norm_, nullptr, model_.eps, 1});
    Mat query = absorb(step, q);
    step.stream.rope_store(query, c_.heads, key, 1, {}, kv_layer_, model_.ropes[c_.rope].spec(c_.latent));
    Mat mixed = step.alloc(rows, c_.heads * c_.latent);
    AttentionSpec spec;
    spec.kv_layer = kv_layer_;
    spec.n_heads = c_.heads;
    spec.scale = c_.scale;
    spec.v_dim = c_.latent;
    step.stream.attention(mixed, query, spec);
    Mat y = step.alloc(rows, c_.heads * c_.v_dim);
    for (uint32_t h = 0; h < c_.heads; ++h) {
      const LinearSpec part[] = {{columns(y, h * c_.v_dim, c_.v_dim), value_maps_[h], nullptr, false, 1.0F}};
      step.stream.linear(part, columns(mixed, h * c_.latent, c_.latent));
    }
    const LinearSpec last[] = {out_.to(out)};
    step.stream.linear(last, y);
  }

 private:
  uint32_t q_size() const { return c_.no_rope_dims + c_.rope_dims; }
  uint32_t key_size() const { return c_.latent + c_.rope_dims; }

  /// Per head [no-rope, rope] becomes [latent, rope].
  Mat absorb(Step& step, Mat q) const {
    Mat query = step.alloc(q.rows, c_.heads * key_size());
    for (uint32_t h = 0; h < c_.heads; ++h) {
      const LinearSpec part[] = {{columns(query, h * key_size(), c_.latent), key_maps_[h], nullptr, false, 1.0F}};
      step.stream.linear(part, columns(q, h * q_size(), c_.no_rope_dims));
      step.stream.copy_columns(query, h * key_size() + c_.latent, q, h * q_size() + c_.no_rope_dims, c_.rope_dims);
    }
    return query;
  }

  MlaConfig c_;
  const ModelConfig& model_;
  Projection q_a_, q_, kv_, out_;
  const Weight* q_norm_ = nullptr;
  const Weight* kv_norm_ = nullptr;
  std::vector<const Weight*> key_maps_, value_maps_;  ///< per head; sized before any slot is registered
  uint32_t kv_layer_ = 0;
};

}  // namespace

Result<std::unique_ptr<Sublayer>> make_mla(const MlaConfig& config, const LayerScope& scope) {
  auto layer = std::make_unique<Mla>(config, scope.config);
  KVASIR_TRY(layer->plan(scope));
  return std::unique_ptr<Sublayer>(std::move(layer));
}

}  // namespace kvasir
