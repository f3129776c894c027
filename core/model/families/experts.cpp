// gpt-oss (arXiv:2508.10925) and DeepSeek-V2/V3 (arXiv:2405.04434, 2412.19437).
#include <cmath>

#include "core/model/families/family.h"

namespace kvasir {
namespace {

Result<MlaConfig> read_mla(ConfigReader& reader, const ModelConfig& config) {
  const ModelLimits& limits = reader.limits();
  MlaConfig mla;
  mla.heads = config.layers[0].attention.heads;
  mla.query_rank = KVASIR_TRY(reader.optional_or("attention.q_lora_rank", 0, 0, limits.max_width));
  mla.latent = KVASIR_TRY(reader.required("attention.kv_lora_rank", 1, limits.max_head_size));
  mla.rope_dims = KVASIR_TRY(reader.required("rope.dimension_count", 2, limits.max_head_size));
  const auto key = KVASIR_TRY(reader.optional("attention.key_length_mla", mla.rope_dims + 1, limits.max_head_size));
  const auto value = KVASIR_TRY(reader.optional("attention.value_length_mla", 1, limits.max_head_size));
  if (!key || !value) {
    return Failure(Code::kUnsupported,
                   "this deepseek2 file is of the form before attention.key_length_mla; convert the model again");
  }
  if (mla.heads == 0) return Failure(Code::kCorrupt, "metadata deepseek2.attention.head_count is 0");
  mla.no_rope_dims = *key - mla.rope_dims;
  mla.v_dim = *value;
  mla.scale = 1.0F / std::sqrt(static_cast<float>(*key));
  return mla;
}

Result<void> read_router(ConfigReader& reader, FeedForwardConfig& f) {
  const uint32_t function = KVASIR_TRY(reader.optional_or("expert_gating_func", 1, 1, 2));
  f.router = function == 2 ? RouterKind::kSigmoid : RouterKind::kSoftmaxThenTopK;
  f.expert_groups = KVASIR_TRY(reader.optional_or("expert_group_count", 1, 0, f.experts));
  f.expert_groups = f.expert_groups == 0 ? 1 : f.expert_groups;
  f.top_groups = KVASIR_TRY(reader.optional_or("expert_group_used_count", f.expert_groups, 0, f.expert_groups));
  f.top_groups = f.top_groups == 0 ? f.expert_groups : f.top_groups;
  if (f.experts % f.expert_groups != 0 || f.top_k > f.experts / f.expert_groups * f.top_groups) {
    return Failure(Code::kCorrupt, "metadata deepseek2.expert_group_count does not fit the number of experts");
  }
  return {};
}

}  // namespace

Result<ModelConfig> read_gpt_oss(ConfigReader& reader) {
  ModelConfig config = KVASIR_TRY(reader.rotary_base(NormKind::kRms, RopeKind::kHalfSplit));
  config.names.feed_forward_norm = "post_attention_norm";
  KVASIR_TRY(reader.read_experts(config));
  const uint32_t window = KVASIR_TRY(reader.required("attention.sliding_window", 1, UINT32_MAX));
  const auto windowed = KVASIR_TRY(reader.windowed_layers(config, 2));
  for (size_t i = 0; i < config.layers.size(); ++i) {
    LayerConfig& layer = config.layers[i];
    layer.attention.sinks = true;
    layer.attention.window = windowed[i] ? window : 0;
    layer.feed_forward.router = RouterKind::kTopKThenSoftmax;
    layer.feed_forward.activation = Activation::kSwigluOai;
  }
  return config;
}

Result<ModelConfig> read_deepseek2(ConfigReader& reader) {
  ModelConfig config = KVASIR_TRY(reader.base(NormKind::kRms));
  MlaConfig mla = KVASIR_TRY(read_mla(reader, config));
  RopeConfig rope = KVASIR_TRY(reader.rope(RopeKind::kInterleaved, mla.rope_dims));
  // DeepSeek moves YaRN's magnitude from cos and sin, where it is 1, into the softmax scale.
  rope.magnitude = 1.0F;
  if (const auto multiplier = KVASIR_TRY(reader.number("rope.scaling.yarn_log_multiplier"))) {
    const float factor = KVASIR_TRY(reader.positive("rope.scaling.factor")).value_or(1.0F);
    const float magnitude = 1.0F + *multiplier * std::log(factor);
    mla.scale *= magnitude * magnitude;
  }
  config.ropes.push_back(std::move(rope));
  for (LayerConfig& layer : config.layers) {
    layer.mixer = MixerKind::kMla;
    layer.mla = mla;
  }
  const auto layers = static_cast<uint32_t>(config.layers.size());
  const uint32_t dense = KVASIR_TRY(reader.optional_or("leading_dense_block_count", 0, 0, layers));
  if (dense == layers) return config;
  KVASIR_TRY(reader.read_experts(config, dense));
  const uint32_t shared = KVASIR_TRY(reader.optional_or("expert_shared_count", 0, 0, 64));
  for (uint32_t i = dense; i < layers; ++i) {
    FeedForwardConfig& f = config.layers[i].feed_forward;
    KVASIR_TRY(read_router(reader, f));
    f.shared_width = shared * f.width;
  }
  return config;
}

}  // namespace kvasir
