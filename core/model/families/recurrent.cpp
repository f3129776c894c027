// LFM2 (short convolutions) and Mamba-2 (arXiv:2405.21060).
#include "core/model/families/family.h"

namespace kvasir {

Result<ModelConfig> read_lfm2(ConfigReader& reader) {
  ModelConfig config = KVASIR_TRY(reader.base(NormKind::kRms));
  config.names.output_norm = "token_embd_norm";
  const uint32_t taps = KVASIR_TRY(reader.required("shortconv.l_cache", 2, 64));
  uint32_t head_size = 0;
  for (LayerConfig& layer : config.layers) {
    if (layer.attention.kv_heads == 0) {  // how the file marks layers without attention
      layer.mixer = MixerKind::kShortConv;
      layer.recurrent.taps = taps;
      continue;
    }
    layer.attention.qk_norm = QkNorm::kPerHead;
    layer.attention.rope = 0;
    head_size = layer.attention.k_dim;
  }
  if (head_size > 0) config.ropes.push_back(KVASIR_TRY(reader.rope(RopeKind::kHalfSplit, head_size)));
  return config;
}

Result<ModelConfig> read_mamba2(ConfigReader& reader) {
  const ModelLimits& limits = reader.limits();
  ModelConfig config = KVASIR_TRY(reader.base(NormKind::kRms));
  RecurrentConfig r;
  r.taps = KVASIR_TRY(reader.required("ssm.conv_kernel", 2, 64));
  r.heads = KVASIR_TRY(reader.required("ssm.time_step_rank", 1, limits.max_state_heads));
  r.groups = KVASIR_TRY(reader.required("ssm.group_count", 1, r.heads));
  r.state_dim = KVASIR_TRY(reader.required("ssm.state_size", 1, limits.max_head_size));
  const uint32_t inner = KVASIR_TRY(reader.required("ssm.inner_size", 1, limits.max_width));
  if (inner % r.heads != 0 || r.heads % r.groups != 0) {
    return Failure(Code::kCorrupt, "metadata mamba2.ssm.*: sizes do not divide each other");
  }
  r.head_dim = inner / r.heads;
  for (LayerConfig& layer : config.layers) {
    layer.mixer = MixerKind::kMamba2;
    layer.recurrent = r;
    layer.feed_forward.kind = FeedForwardKind::kNone;
  }
  return config;
}

}  // namespace kvasir
