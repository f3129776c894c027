// Families with LayerNorm in the line of GPT: GPT-2, GPT-NeoX, Falcon, StarCoder2, StableLM.
#include "core/model/families/family.h"

namespace kvasir {
namespace {

void use_plain_feed_forward(ModelConfig& config, Activation activation) {
  for (LayerConfig& layer : config.layers) {
    layer.feed_forward.gated = false;
    layer.feed_forward.activation = activation;
  }
}

void use_fused_qkv(ModelConfig& config) {
  for (LayerConfig& layer : config.layers) layer.attention.fused_qkv = true;
}

}  // namespace

Result<ModelConfig> read_gpt2(ConfigReader& reader) {
  ModelConfig config = KVASIR_TRY(reader.base(NormKind::kLayer));
  for (const LayerConfig& layer : config.layers) {
    if (layer.attention.kv_heads == 0) return Failure(Code::kCorrupt, "metadata gpt2.attention.head_count is 0");
  }
  config.learned_positions = true;
  use_fused_qkv(config);
  use_plain_feed_forward(config, Activation::kGeluTanh);
  return config;
}

Result<ModelConfig> read_gpt_neox(ConfigReader& reader) {
  ModelConfig config = KVASIR_TRY(reader.rotary_base(NormKind::kLayer, RopeKind::kHalfSplit));
  if (KVASIR_TRY(reader.flag_or("use_parallel_residual", true))) {
    config.placement = NormPlacement::kParallel;
    config.two_parallel_norms = true;
  }
  use_fused_qkv(config);
  use_plain_feed_forward(config, Activation::kGeluErf);
  return config;
}

Result<ModelConfig> read_falcon(ConfigReader& reader) {
  ModelConfig config = KVASIR_TRY(reader.rotary_base(NormKind::kLayer, RopeKind::kHalfSplit));
  config.placement = NormPlacement::kParallel;
  if (reader.file().find("blk.0.attn_norm_2.weight") != nullptr) {  // the 40B kind: attention has the second norm
    config.two_parallel_norms = true;
    config.names.mixer_norm = "attn_norm_2";
    config.names.feed_forward_norm = "attn_norm";
  }
  use_fused_qkv(config);
  use_plain_feed_forward(config, Activation::kGeluErf);
  return config;
}

Result<ModelConfig> read_starcoder2(ConfigReader& reader) {
  ModelConfig config = KVASIR_TRY(reader.rotary_base(NormKind::kLayer, RopeKind::kHalfSplit));
  const uint32_t window = KVASIR_TRY(reader.optional_or("attention.sliding_window", 0, 0, UINT32_MAX));
  for (LayerConfig& layer : config.layers) layer.attention.window = window;
  use_plain_feed_forward(config, Activation::kGeluTanh);
  return config;
}

Result<ModelConfig> read_stablelm(ConfigReader& reader) {
  ModelConfig config = KVASIR_TRY(reader.rotary_base(NormKind::kLayer, RopeKind::kHalfSplit));
  if (KVASIR_TRY(reader.flag_or("use_parallel_residual", false))) config.placement = NormPlacement::kParallel;
  if (reader.file().find("blk.0.attn_q_norm.weight") != nullptr) {
    for (LayerConfig& layer : config.layers) layer.attention.qk_norm = QkNorm::kPerHead;
  }
  return config;
}

}  // namespace kvasir
