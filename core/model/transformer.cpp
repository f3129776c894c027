#include "core/model/transformer.h"

#include <algorithm>
#include <limits>
#include <string>

namespace kvasir {
namespace {

/// Rows of logits that are computed at a time: bounds the memory of the head, the largest matrix of most models.
constexpr size_t kHeadRows = 64;

}  // namespace

Result<std::unique_ptr<Transformer>> Transformer::create(ModelConfig config, WeightPlan& plan) {
  for (LayerConfig& layer : config.layers) {
    if (layer.attention.window >= config.max_context) layer.attention.window = 0;  // never forgets anything
  }
  std::unique_ptr<Transformer> model(new Transformer(std::move(config)));
  model->number_groups();
  KVASIR_TRY(model->plan_weights(plan));
  return model;
}

void Transformer::number_groups() {
  for (const LayerConfig& layer : config_.layers) {
    if (layer.mixer != MixerKind::kAttention && layer.mixer != MixerKind::kMla) continue;
    const uint32_t window = layer.mixer == MixerKind::kMla ? 0 : layer.attention.window;
    if (std::find(group_windows_.begin(), group_windows_.end(), window) == group_windows_.end()) {
      group_windows_.push_back(window);
    }
  }
  std::sort(group_windows_.begin(), group_windows_.end());  // the group that keeps everything comes first
}

Result<void> Transformer::plan_weights(WeightPlan& plan) {
  const bool tied = !plan.contains("output.weight");
  KVASIR_TRY(plan.table(embedding_, "token_embd.weight", config_.vocab, config_.width, tied));
  if (config_.learned_positions) {
    KVASIR_TRY(plan.table(positions_, "position_embd.weight", config_.max_context, config_.width, false));
  }
  if (config_.per_layer_width > 0) KVASIR_TRY(per_layer_.plan(plan, config_));
  for (const char* known : {"rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"})
    plan.ignore(known);
  std::vector<uint32_t> kv_layer_of(config_.layers.size(), 0);
  for (uint32_t i = 0; i < config_.layers.size(); ++i) {
    plan.enter({ModelPart::Kind::kLayer, i});
    const LayerScope scope{plan, config_, i, caches_, group_windows_, kv_layer_of};
    blocks_.push_back(KVASIR_TRY(Block::create(config_.layers[i], scope)));
  }
  plan.enter({ModelPart::Kind::kHead});
  output_norm_.kind = config_.norm;
  output_norm_.eps = config_.eps;
  const std::string norm(config_.names.output_norm);
  KVASIR_TRY(plan.vector(output_norm_.weight, norm + ".weight", config_.width));
  KVASIR_TRY(plan.optional_vector(output_norm_.bias, norm + ".bias", config_.width));
  if (!tied) KVASIR_TRY(plan.matrix(output_, "output.weight", config_.vocab, config_.width));
  return plan.optional_vector(output_bias_, "output.bias", config_.vocab);
}

uint32_t Transformer::choose_context(uint32_t tokens) {
  uint32_t positions = std::numeric_limits<uint32_t>::max();
  for (RopeConfig& rope : config_.ropes) {
    if (rope.short_context == 0 || tokens > rope.short_context) continue;
    rope.inverse_frequency = rope.short_inverse_frequency;
    positions = std::min(positions, rope.short_context);
  }
  return positions;
}

Result<std::vector<RopeSpec>> Transformer::key_ropes() const {
  const auto cannot = [](const std::string& why) {
    return Failure(Code::kUnsupported, "rows of this model's KV cache cannot be moved: " + why);
  };
  if (!caches_.state_floats.empty()) return cannot("it keeps a recurrent state");
  if (config_.learned_positions) return cannot("its positions are learned");
  std::vector<RopeSpec> out;
  for (const LayerConfig& layer : config_.layers) {
    if (layer.mixer == MixerKind::kMla) {
      out.push_back(config_.ropes[layer.mla.rope].spec(layer.mla.latent));
    } else if (layer.mixer == MixerKind::kAttention) {
      if (layer.attention.window > 0) return cannot("some of its layers keep only a window of " + std::to_string(layer.attention.window) + " tokens");
      if (layer.attention.kv_source) continue;
      out.push_back(layer.attention.rope ? config_.ropes[*layer.attention.rope].spec() : RopeSpec{});
    }
  }
  if (out.size() != caches_.layers.size()) return cannot("its layers are of another kind");
  return out;
}

Result<void> Transformer::forward(Stream& stream, KvPool& pool, const StepLayout& layout,
                                  std::span<const TokenId> tokens, const HeadOutput& out) const {
  stream.begin(layout, &pool);
  Step step(stream, layout.rows, config_.width);
  Mat x = stream.alloc(layout.rows, config_.width);
  stream.embed(x, *embedding_, tokens, config_.embedding_scale);
  if (positions_ != nullptr) stream.add_positions(x, *positions_, 0);
  if (config_.per_layer_width > 0) step.per_layer = per_layer_.run(step, x, tokens);
  for (uint32_t layer = 0; layer < blocks_.size(); ++layer) {
    step.enter({ModelPart::Kind::kLayer, layer}, x);
    blocks_[layer]->run(step, x);
    step.release();
  }
  if (!out.rows.empty()) {
    step.enter({ModelPart::Kind::kHead}, x);
    head(step, x, out);
  }
  return stream.finish();
}

void Transformer::head(Step& step, Mat x, const HeadOutput& out) const {
  for (size_t begin = 0; begin < out.rows.size(); begin += kHeadRows) {
    const auto chunk = out.rows.subspan(begin, std::min(kHeadRows, out.rows.size() - begin));
    const auto count = static_cast<uint32_t>(chunk.size());
    Mat wanted = step.alloc(count, config_.width);
    Mat y = step.alloc(count, config_.vocab);
    step.stream.gather_rows(wanted, x, chunk);
    const LinearSpec parts[] = {
        {y, output_ != nullptr ? output_ : embedding_, output_bias_, false, config_.logit_scale}};
    step.stream.norm_linear(parts, wanted, output_norm_);
    if (config_.logit_soft_cap > 0.0F) step.stream.soft_cap(y, config_.logit_soft_cap);
    if (out.logits.empty()) {
      step.stream.best(out.best.subspan(begin * out.count, size_t{count} * out.count), y, out.count);
    } else {
      step.stream.download(out.logits.subspan(begin * config_.vocab, size_t{count} * config_.vocab), y);
    }
    step.release();
  }
}

}  // namespace kvasir
