// Qwen2 arXiv:2407.10671, Qwen3 arXiv:2505.09388, their mixtures of experts, and the hybrids with gated DeltaNet.
#include "core/model/families/family.h"

namespace kvasir {
namespace {

/// Every expert layer also has a shared expert, multiplied by a learned gate.
Result<void> read_gated_shared_expert(ConfigReader& reader, ModelConfig& config) {
  for (LayerConfig& layer : config.layers) {
    FeedForwardConfig& f = layer.feed_forward;
    f.shared_width = KVASIR_TRY(reader.required("expert_shared_feed_forward_length", 1, reader.limits().max_width));
    f.shared_gate = true;
  }
  return {};
}

/// Which layers are recurrent: stored, or all but every n-th.
Result<std::vector<bool>> recurrent_layers(ConfigReader& reader, const ModelConfig& config) {
  const size_t n = config.layers.size();
  if (auto stored = KVASIR_TRY(reader.flags_per_layer("attention.recurrent_layers", n))) return *stored;
  const uint32_t interval = KVASIR_TRY(reader.optional_or("full_attention_interval", 4, 1, reader.limits().max_layers));
  std::vector<bool> out(n);
  for (size_t i = 0; i < n; ++i) out[i] = (i + 1) % interval != 0;
  return out;
}

Result<RecurrentConfig> read_delta_net(ConfigReader& reader) {
  const ModelLimits& limits = reader.limits();
  RecurrentConfig r;
  r.taps = KVASIR_TRY(reader.required("ssm.conv_kernel", 2, 64));
  r.heads = KVASIR_TRY(reader.required("ssm.time_step_rank", 1, limits.max_heads));
  r.groups = KVASIR_TRY(reader.required("ssm.group_count", 1, r.heads));
  r.state_dim = KVASIR_TRY(reader.required("ssm.state_size", 1, limits.max_head_size));
  const uint32_t inner = KVASIR_TRY(reader.required("ssm.inner_size", 1, limits.max_width));
  if (r.heads % r.groups != 0 || inner % r.heads != 0) {
    return Failure(Code::kCorrupt, "metadata " + reader.architecture() + ".ssm.*: sizes do not divide each other");
  }
  r.head_dim = inner / r.heads;
  return r;
}

/// Three recurrent layers to one with gated attention.
Result<ModelConfig> read_hybrid(ConfigReader& reader, bool tiled_heads, bool fused_beta_alpha) {
  ModelConfig config = KVASIR_TRY(reader.rotary_base(NormKind::kRms, RopeKind::kHalfSplit));
  config.names.feed_forward_norm = "post_attention_norm";
  RecurrentConfig recurrent = KVASIR_TRY(read_delta_net(reader));
  recurrent.tiled_heads = tiled_heads;
  recurrent.fused_beta_alpha = fused_beta_alpha;
  const auto is_recurrent = KVASIR_TRY(recurrent_layers(reader, config));
  for (size_t i = 0; i < config.layers.size(); ++i) {
    LayerConfig& layer = config.layers[i];
    layer.recurrent = recurrent;
    layer.attention.output_gate = true;
    layer.attention.qk_norm = QkNorm::kPerHead;
    if (is_recurrent[i]) layer.mixer = MixerKind::kDeltaNet;
  }
  return config;
}

}  // namespace

Result<ModelConfig> read_qwen2(ConfigReader& reader) {
  return reader.rotary_base(NormKind::kRms, RopeKind::kHalfSplit);
}

Result<ModelConfig> read_qwen2_moe(ConfigReader& reader) {
  ModelConfig config = KVASIR_TRY(read_qwen2(reader));
  KVASIR_TRY(reader.read_experts(config));
  KVASIR_TRY(read_gated_shared_expert(reader, config));
  return config;
}

Result<ModelConfig> read_qwen3(ConfigReader& reader) {
  ModelConfig config = KVASIR_TRY(read_qwen2(reader));
  for (LayerConfig& layer : config.layers) layer.attention.qk_norm = QkNorm::kPerHead;
  return config;
}

Result<ModelConfig> read_qwen3_moe(ConfigReader& reader) {
  ModelConfig config = KVASIR_TRY(read_qwen3(reader));
  KVASIR_TRY(reader.read_experts(config));
  for (LayerConfig& layer : config.layers) layer.feed_forward.normalise = true;
  return config;
}

Result<ModelConfig> read_qwen3_next(ConfigReader& reader) {
  ModelConfig config = KVASIR_TRY(read_hybrid(reader, false, true));
  KVASIR_TRY(reader.read_experts(config));
  KVASIR_TRY(read_gated_shared_expert(reader, config));
  for (LayerConfig& layer : config.layers) layer.feed_forward.normalise = true;
  return config;
}

Result<ModelConfig> read_qwen35(ConfigReader& reader) {
  // Its position sections (M-RoPE) are equal for text, so it rotates like everyone else. GGUF orders value heads so
  // that neighbours use different key heads.
  return read_hybrid(reader, true, false);
}

}  // namespace kvasir
