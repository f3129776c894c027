// Llama 1-3, Mistral, TinyLlama, SmolLM2; with experts Mixtral. arXiv:2302.13971, 2407.21783, 2310.06825, 2401.04088.
#include "core/model/families/family.h"

namespace kvasir {

Result<ModelConfig> read_llama(ConfigReader& reader) {
  // GGUF permutes the rows of Q and K, so that pairs of neighbours rotate; originals rotate halves.
  const RopeKind kind = reader.file().permutes_query_key() ? RopeKind::kInterleaved : RopeKind::kHalfSplit;
  ModelConfig config = KVASIR_TRY(reader.rotary_base(NormKind::kRms, kind));
  const uint32_t window = KVASIR_TRY(reader.optional_or("attention.sliding_window", 0, 0, UINT32_MAX));
  for (LayerConfig& layer : config.layers) layer.attention.window = window;
  if (KVASIR_TRY(reader.optional_or("expert_count", 0, 0, reader.limits().max_experts)) > 0) {
    KVASIR_TRY(reader.read_experts(config));
    for (LayerConfig& layer : config.layers) layer.feed_forward.normalise = true;
  }
  return config;
}

}  // namespace kvasir
