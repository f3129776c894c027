#include "core/model/layers/block.h"

namespace kvasir {
namespace {

Result<std::unique_ptr<Sublayer>> make_mixer(const LayerConfig& config, const LayerScope& scope) {
  switch (config.mixer) {
    case MixerKind::kAttention:
      return make_attention(config.attention, scope);
    case MixerKind::kMla:
      return make_mla(config.mla, scope);
    case MixerKind::kShortConv:
      return make_short_conv(config.recurrent, scope);
    case MixerKind::kMamba2:
      return make_mamba2(config.recurrent, scope);
    case MixerKind::kDeltaNet:
      return make_delta_net(config.recurrent, scope);
  }
  return Failure(Code::kInternal, "unknown mixer");
}

Result<std::unique_ptr<Sublayer>> make_feed_forward(const FeedForwardConfig& config, const LayerScope& scope) {
  switch (config.kind) {
    case FeedForwardKind::kNone:
      return std::unique_ptr<Sublayer>();
    case FeedForwardKind::kDense:
      return make_dense(config, scope);
    case FeedForwardKind::kMoe:
      return make_moe(config, scope);
  }
  return Failure(Code::kInternal, "unknown feed-forward kind");
}

}  // namespace

Result<std::unique_ptr<Block>> Block::create(const LayerConfig& config, const LayerScope& scope) {
  std::unique_ptr<Block> block(new Block(scope.config));
  block->mixer_ = KVASIR_TRY(make_mixer(config, scope));
  block->feed_forward_ = KVASIR_TRY(make_feed_forward(config.feed_forward, scope));
  KVASIR_TRY(block->plan_norms(scope));
  if (scope.config.per_layer_width > 0) {
    block->per_layer_.emplace();
    KVASIR_TRY(block->per_layer_->plan(scope));
  }
  if (scope.config.layer_output_scale) KVASIR_TRY(block->read_output_scale(scope));
  return block;
}

/// A single number, read at once: it becomes an argument of an op, not a weight.
Result<void> Block::read_output_scale(const LayerScope& scope) {
  const std::string name = scope.weight("layer_output_scale");
  const FileTensor* tensor = scope.plan.file().find(name);
  if (tensor == nullptr) return {};
  scope.plan.ignore(name);
  if (tensor->values() != 1) return Failure(Code::kCorrupt, "tensor " + name + " is not a single number");
  const auto values = KVASIR_TRY(read_values(*tensor));
  output_scale_ = values[0];
  return {};
}

Result<void> Block::plan_norm(NormSpec& norm, const LayerScope& scope, std::string_view name) const {
  norm.kind = model_.norm;
  norm.eps = model_.eps;
  KVASIR_TRY(scope.plan.vector(norm.weight, scope.weight(name), model_.width));
  return scope.plan.optional_vector(norm.bias, scope.bias(name), model_.width);
}

Result<void> Block::plan_norms(const LayerScope& scope) {
  const WeightNames& names = model_.names;
  const bool before = model_.placement != NormPlacement::kPost;
  const bool after = model_.placement == NormPlacement::kPost || model_.placement == NormPlacement::kBoth;
  const bool second =
      feed_forward_ != nullptr && (model_.placement != NormPlacement::kParallel || model_.two_parallel_norms);
  if (before) KVASIR_TRY(plan_norm(mixer_norm_, scope, names.mixer_norm));
  if (before && second) KVASIR_TRY(plan_norm(feed_forward_norm_, scope, names.feed_forward_norm));
  if (after) KVASIR_TRY(plan_norm(mixer_post_norm_, scope, names.mixer_post_norm));
  if (after && second) KVASIR_TRY(plan_norm(feed_forward_post_norm_, scope, names.feed_forward_post_norm));
  return {};
}

void Block::run(Step& step, Mat x) const {
  if (model_.placement == NormPlacement::kParallel) return run_parallel(step, x);
  run_part(step, x, *mixer_, mixer_norm_, mixer_post_norm_);
  if (feed_forward_) run_part(step, x, *feed_forward_, feed_forward_norm_, feed_forward_post_norm_);
  if (per_layer_) per_layer_->run(step, x);
  if (output_scale_ != 1.0F) step.stream.scale(x, output_scale_);
}

void Block::run_part(Step& step, Mat x, const Sublayer& part, const NormSpec& pre, const NormSpec& post) const {
  const SublayerInput in{x, pre.weight != nullptr ? &pre : nullptr};
  if (post.weight == nullptr) {
    part.run(step, in, {x, true, model_.residual_scale});
    return;
  }
  Mat y = step.alloc(x.rows, x.cols);
  part.run(step, in, {y, false, 1.0F});
  step.stream.norm(y, y, post);
  step.stream.add(x, y, model_.residual_scale);
}

void Block::run_parallel(Step& step, Mat x) const {
  // Both parts read the residual as it was before either added to it; what does not wait for attention comes before it.
  const SublayerOutput out{x, true, model_.residual_scale};
  const Started mixed = mixer_->start(step, {x, &mixer_norm_});
  const Started fed = feed_forward_->start(step, {x, model_.two_parallel_norms ? &feed_forward_norm_ : &mixer_norm_});
  feed_forward_->finish(step, fed, out);
  mixer_->finish(step, mixed, out);
}

}  // namespace kvasir
