#include "core/model/layers/per_layer_input.h"

#include <cmath>

namespace kvasir {

Result<void> PerLayerEmbedding::plan(WeightPlan& plan, const ModelConfig& model) {
  width_ = model.per_layer_width;
  layers_ = static_cast<uint32_t>(model.layers.size());
  eps_ = model.eps;
  const uint64_t all = uint64_t{width_} * layers_;
  KVASIR_TRY(plan.table(table_, "per_layer_token_embd.weight", model.vocab, all, false));
  KVASIR_TRY(plan.matrix(projection_, "per_layer_model_proj.weight", all, model.width));
  return plan.vector(norm_, "per_layer_proj_norm.weight", width_);
}

Mat PerLayerEmbedding::run(Step& step, Mat x, std::span<const TokenId> tokens) const {
  Mat y = step.stream.alloc(x.rows, width_ * layers_);
  Mat mixed = step.alloc(x.rows, width_ * layers_);
  step.stream.embed(y, *table_, tokens, std::sqrt(static_cast<float>(width_)));
  const LinearSpec parts[] = {{mixed, projection_, nullptr, false, 1.0F / std::sqrt(static_cast<float>(x.cols))}};
  step.stream.linear(parts, x);
  step.stream.norm(mixed, mixed, {NormKind::kRms, norm_, nullptr, eps_, layers_});
  step.stream.add(y, mixed, 1.0F);
  step.stream.scale(y, 1.0F / std::sqrt(2.0F));
  return y;
}

Result<void> PerLayerInput::plan(const LayerScope& scope) {
  width_ = scope.config.per_layer_width;
  index_ = scope.index;
  norm_.eps = scope.config.eps;
  KVASIR_TRY(plan_projection(gate_, scope, "inp_gate", width_, scope.config.width));
  KVASIR_TRY(plan_projection(out_, scope, "proj", scope.config.width, width_));
  return scope.plan.vector(norm_.weight, scope.weight("post_norm"), scope.config.width);
}

void PerLayerInput::run(Step& step, Mat x) const {
  Mat gate = step.alloc(x.rows, width_), y = step.alloc(x.rows, x.cols);
  const LinearSpec parts[] = {gate_.to(gate)};
  step.stream.linear(parts, x);
  const LinearSpec last[] = {out_.to(y)};
  step.stream.gated_linear(last, gate, columns(step.per_layer, index_ * width_, width_), Activation::kGeluTanh);
  step.stream.norm(y, y, norm_);
  step.stream.add(x, y, 1.0F);
}

}  // namespace kvasir
