// OLMo 2 and 3 (arXiv:2501.00656), Granite (arXiv:2405.04324), SmolLM3, Command-R and Command-R7B, GLM-4.
#include "core/model/families/family.h"

namespace kvasir {
namespace {

/// Families whose Q and K rows GGUF permutes, as it does for llama.
RopeKind permuted(const ConfigReader& reader) {
  return reader.file().permutes_query_key() ? RopeKind::kInterleaved : RopeKind::kHalfSplit;
}

}  // namespace

Result<ModelConfig> read_olmo2(ConfigReader& reader) {
  ModelConfig config = KVASIR_TRY(reader.rotary_base(NormKind::kRms, RopeKind::kHalfSplit));
  config.placement = NormPlacement::kPost;
  for (LayerConfig& layer : config.layers) layer.attention.qk_norm = QkNorm::kWholeRow;
  const uint32_t window = KVASIR_TRY(reader.optional_or("attention.sliding_window", 0, 0, UINT32_MAX));
  if (window == 0) return config;
  // OLMo 3: windowed layers rotate without context extension.
  const auto windowed = KVASIR_TRY(reader.windowed_layers(config, 4));
  RopeKeys keys;
  keys.default_base = KVASIR_TRY(reader.positive("rope.freq_base")).value_or(keys.default_base);
  keys.base = "rope.freq_base_swa";
  keys.scaled = false;
  config.ropes.push_back(KVASIR_TRY(reader.rope(RopeKind::kHalfSplit, config.layers[0].attention.k_dim, keys)));
  for (size_t i = 0; i < config.layers.size(); ++i) {
    if (!windowed[i]) continue;
    config.layers[i].attention.window = window;
    config.layers[i].attention.rope = 1;
  }
  return config;
}

Result<ModelConfig> read_granite(ConfigReader& reader) {
  ModelConfig config = KVASIR_TRY(reader.rotary_base(NormKind::kRms, permuted(reader)));
  config.embedding_scale = KVASIR_TRY(reader.positive("embedding_scale")).value_or(1.0F);
  config.residual_scale = KVASIR_TRY(reader.positive("residual_scale")).value_or(1.0F);
  config.logit_scale = 1.0F / KVASIR_TRY(reader.positive("logit_scale")).value_or(1.0F);
  return config;
}

Result<ModelConfig> read_smollm3(ConfigReader& reader) {
  ModelConfig config = KVASIR_TRY(reader.rotary_base(NormKind::kRms, permuted(reader)));
  for (size_t i = 3; i < config.layers.size(); i += 4) config.layers[i].attention.rope.reset();
  return config;
}

Result<ModelConfig> read_command_r(ConfigReader& reader) {
  ModelConfig config = KVASIR_TRY(reader.rotary_base(NormKind::kLayer, RopeKind::kInterleaved));
  config.placement = NormPlacement::kParallel;
  config.logit_scale = KVASIR_TRY(reader.positive("logit_scale")).value_or(1.0F);
  if (reader.file().find("blk.0.attn_q_norm.weight") != nullptr) {  // Command-R+
    for (LayerConfig& layer : config.layers) layer.attention.qk_norm = QkNorm::kPerHead;
  }
  return config;
}

Result<ModelConfig> read_cohere2(ConfigReader& reader) {
  ModelConfig config = KVASIR_TRY(read_command_r(reader));
  const uint32_t window = KVASIR_TRY(reader.required("attention.sliding_window", 1, UINT32_MAX));
  const auto windowed = KVASIR_TRY(reader.windowed_layers(config, 4));
  for (size_t i = 0; i < config.layers.size(); ++i) {
    AttentionConfig& a = config.layers[i].attention;
    if (windowed[i]) {
      a.window = window;
    } else {
      a.rope.reset();
    }
  }
  return config;
}

Result<ModelConfig> read_glm4(ConfigReader& reader) {
  ModelConfig config = KVASIR_TRY(reader.rotary_base(NormKind::kRms, RopeKind::kInterleaved));
  config.placement = NormPlacement::kBoth;
  for (LayerConfig& layer : config.layers) layer.feed_forward.fused_gate_up = true;
  return config;
}

}  // namespace kvasir
