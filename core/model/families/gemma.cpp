// Gemma arXiv:2403.08295, Gemma 2 arXiv:2408.00118, Gemma 3 arXiv:2503.19786, Gemma 4. Norm gains are stored as 1 + w.
#include <cmath>

#include "core/model/families/family.h"

namespace kvasir {
namespace {

/// One of the larger models divides by the embedding per head, not by the head size; only its depth tells.
void scale_by_width_per_head(ModelConfig& config, size_t layers_of_large) {
  if (config.layers.size() != layers_of_large) return;
  for (LayerConfig& layer : config.layers) {
    layer.attention.scale =
        1.0F / std::sqrt(static_cast<float>(config.width) / static_cast<float>(layer.attention.heads));
  }
}

Result<ModelConfig> read_common(ConfigReader& reader) {
  ModelConfig config = KVASIR_TRY(reader.rotary_base(NormKind::kRms, RopeKind::kHalfSplit));
  config.embedding_scale = std::sqrt(static_cast<float>(config.width));
  for (LayerConfig& layer : config.layers) layer.feed_forward.activation = Activation::kGeluTanh;
  return config;
}

/// The unscaled table of windowed layers, beside the one for the others.
Result<uint32_t> add_local_rope(ConfigReader& reader, ModelConfig& config, uint32_t head_size,
                                std::string_view dims_key) {
  RopeKeys keys;
  keys.base = "rope.freq_base_swa";
  keys.dims = dims_key;
  keys.scaled = false;
  config.ropes.push_back(KVASIR_TRY(reader.rope(RopeKind::kHalfSplit, head_size, keys)));
  return static_cast<uint32_t>(config.ropes.size() - 1);
}

}  // namespace

Result<ModelConfig> read_gemma(ConfigReader& reader) {
  return read_common(reader);
}

Result<ModelConfig> read_gemma2(ConfigReader& reader) {
  ModelConfig config = KVASIR_TRY(read_common(reader));
  config.placement = NormPlacement::kBoth;
  config.logit_soft_cap = KVASIR_TRY(reader.positive("final_logit_softcapping")).value_or(30.0F);
  const float soft_cap = KVASIR_TRY(reader.positive("attn_logit_softcapping")).value_or(50.0F);
  const uint32_t window = KVASIR_TRY(reader.optional_or("attention.sliding_window", 4096, 1, UINT32_MAX));
  const auto windowed = KVASIR_TRY(reader.windowed_layers(config, 2));
  for (size_t i = 0; i < config.layers.size(); ++i) {
    config.layers[i].attention.soft_cap = soft_cap;
    config.layers[i].attention.window = windowed[i] ? window : 0;
  }
  scale_by_width_per_head(config, 46);  // 27B
  return config;
}

Result<ModelConfig> read_gemma3(ConfigReader& reader) {
  ModelConfig config = KVASIR_TRY(read_common(reader));
  config.placement = NormPlacement::kBoth;
  const uint32_t window = KVASIR_TRY(reader.optional_or("attention.sliding_window", 0, 0, UINT32_MAX));
  const auto windowed = KVASIR_TRY(reader.windowed_layers(config, 6));
  RopeKeys keys;
  keys.default_base = 1'000'000.0F;
  config.ropes[0] = KVASIR_TRY(reader.rope(RopeKind::kHalfSplit, config.layers[0].attention.k_dim, keys));
  const uint32_t local =
      KVASIR_TRY(add_local_rope(reader, config, config.layers[0].attention.k_dim, "rope.dimension_count"));
  for (size_t i = 0; i < config.layers.size(); ++i) {
    AttentionConfig& a = config.layers[i].attention;
    a.qk_norm = QkNorm::kPerHead;
    if (window == 0 || !windowed[i]) continue;
    a.window = window;
    a.rope = local;
  }
  config.logit_soft_cap = KVASIR_TRY(reader.number_or("final_logit_softcapping", 0.0F));
  scale_by_width_per_head(config, 62);  // 27B
  return config;
}

Result<ModelConfig> read_gemma4(ConfigReader& reader) {
  if (reader.file().find("blk.0.ffn_gate_inp.weight") != nullptr) {
    return Failure(Code::kUnsupported, "gemma4 with experts is not supported yet; the dense gemma4 models are");
  }
  ModelConfig config = KVASIR_TRY(read_common(reader));
  config.placement = NormPlacement::kBoth;
  config.layer_output_scale = true;
  config.logit_soft_cap = KVASIR_TRY(reader.number_or("final_logit_softcapping", 0.0F));
  config.per_layer_width =
      KVASIR_TRY(reader.optional_or("embedding_length_per_layer_input", 0, 0, reader.limits().max_width));
  const uint32_t window = KVASIR_TRY(reader.required("attention.sliding_window", 1, UINT32_MAX));
  const uint32_t local_size = KVASIR_TRY(reader.required("attention.key_length_swa", 1, reader.limits().max_head_size));
  const uint32_t local_values =
      KVASIR_TRY(reader.required("attention.value_length_swa", 1, reader.limits().max_head_size));
  const auto windowed = KVASIR_TRY(reader.windowed_layers(config, 6));
  const uint32_t local = KVASIR_TRY(add_local_rope(reader, config, local_size, "rope.dimension_count_swa"));
  const auto n = static_cast<uint32_t>(config.layers.size());
  const uint32_t own_caches = n - KVASIR_TRY(reader.optional_or("attention.shared_kv_layers", 0, 0, n - 1));
  for (uint32_t i = 0; i < n; ++i) {
    AttentionConfig& a = config.layers[i].attention;
    a.qk_norm = QkNorm::kPerHead;
    a.value_norm = true;
    a.value_is_key = true;
    a.scale = 1.0F;
    if (windowed[i]) {
      a.window = window;
      a.rope = local;
      a.k_dim = local_size;
      a.v_dim = local_values;
    }
    if (i < own_caches) continue;
    // The last layer of the same kind that has a cache of its own.
    uint32_t source = own_caches;
    while (source > 0 && windowed[source - 1] != windowed[i]) --source;
    if (source == 0)
      return Failure(Code::kCorrupt, "metadata gemma4.attention.shared_kv_layers leaves no cache to share");
    a.kv_source = source - 1;
  }
  return config;
}

}  // namespace kvasir
