// Phi-2 and Phi-3/4 (arXiv:2404.14219).
#include "core/model/families/family.h"

namespace kvasir {

Result<ModelConfig> read_phi2(ConfigReader& reader) {
  ModelConfig config = KVASIR_TRY(reader.rotary_base(NormKind::kLayer, RopeKind::kHalfSplit));
  config.placement = NormPlacement::kParallel;
  const bool fused = reader.file().find("blk.0.attn_qkv.weight") != nullptr;
  for (LayerConfig& layer : config.layers) {
    layer.attention.fused_qkv = fused;
    layer.feed_forward.gated = false;
    layer.feed_forward.activation = Activation::kGeluTanh;
  }
  return config;
}

Result<ModelConfig> read_phi3(ConfigReader& reader) {
  ModelConfig config = KVASIR_TRY(reader.rotary_base(NormKind::kRms, RopeKind::kHalfSplit));
  const uint32_t window = KVASIR_TRY(reader.optional_or("attention.sliding_window", 0, 0, UINT32_MAX));
  const bool fused = reader.file().find("blk.0.attn_qkv.weight") != nullptr;
  for (LayerConfig& layer : config.layers) {
    layer.attention.fused_qkv = fused;
    layer.attention.window = window;
    layer.feed_forward.fused_gate_up = true;
  }
  return config;
}

}  // namespace kvasir
