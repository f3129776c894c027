// What a decoder looks like, as plain checked values: filled by a family's reader (families/) from metadata, read by
// the layers (layers/) that it describes. Nothing here comes unchecked from a file. Immutable once read.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backends/backend.h"

namespace kvasir {

/// One rotary embedding: frequencies after all scaling. Layers name theirs by index into ModelConfig::ropes.
struct RopeConfig {
  RopeKind kind = RopeKind::kHalfSplit;
  uint32_t dims = 0;
  float magnitude = 1.0F;
  std::vector<float> inverse_frequency;
  /// longrope: the frequencies while the context stays within `short_context`; empty for every other kind.
  std::vector<float> short_inverse_frequency;
  uint32_t short_context = 0;

  RopeSpec spec(uint32_t offset = 0) const noexcept { return {kind, dims, inverse_frequency, magnitude, offset}; }
};

enum class MixerKind : uint8_t { kAttention, kMla, kShortConv, kMamba2, kDeltaNet };
enum class QkNorm : uint8_t { kNone, kPerHead, kWholeRow };

struct AttentionConfig {
  uint32_t heads = 0, kv_heads = 0;
  uint32_t k_dim = 0, v_dim = 0;
  uint32_t window = 0;  ///< 0: everything
  float scale = 0.0F;
  float soft_cap = 0.0F;
  std::optional<uint32_t> rope;  ///< index into ropes; none: no rotation in this layer
  QkNorm qk_norm = QkNorm::kNone;
  bool value_norm = false;    ///< gain-free RMS norm of each value head
  bool value_is_key = false;  ///< without an attn_v tensor the unrotated, unnormed K is V (gemma4)
  bool output_gate = false;   ///< Q holds [query, gate] per head; the result is multiplied by sigmoid(gate)
  bool sinks = false;
  bool fused_qkv = false;             ///< one tensor attn_qkv: all of Q, then K, then V
  std::optional<uint32_t> kv_source;  ///< uses that layer's cache instead of its own K and V
};

/// Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434), in the absorbed form: the cache holds latents.
struct MlaConfig {
  uint32_t heads = 0;
  uint32_t query_rank = 0;  ///< 0: queries are not compressed
  uint32_t latent = 0;
  uint32_t rope_dims = 0, no_rope_dims = 0, v_dim = 0;
  float scale = 0.0F;
  uint32_t rope = 0;
};

/// Sizes of the mixers with state; each uses what it needs.
struct RecurrentConfig {
  uint32_t taps = 0;                 ///< of the causal convolution
  uint32_t heads = 0, head_dim = 0;  ///< value heads
  uint32_t groups = 1;               ///< key heads (delta), groups of B and C (mamba2)
  uint32_t state_dim = 0;            ///< key size (delta), state per channel (mamba2)
  bool tiled_heads = false;          ///< value head h uses key head h % groups instead of h / (heads / groups)
  bool fused_beta_alpha = false;     ///< one tensor ssm_ba, grouped by key head
};

enum class FeedForwardKind : uint8_t { kNone, kDense, kMoe };
struct FeedForwardConfig {
  FeedForwardKind kind = FeedForwardKind::kDense;
  uint32_t width = 0;  ///< hidden width (of one expert if MoE)
  bool gated = true;
  bool fused_gate_up = false;  ///< ffn_up holds gate rows, then up rows
  Activation activation = Activation::kSilu;
  // MoE only.
  RouterKind router = RouterKind::kSoftmaxThenTopK;
  uint32_t experts = 0, top_k = 0, expert_groups = 1, top_groups = 1;
  bool normalise = false;
  float weight_scale = 1.0F;
  uint32_t shared_width = 0;  ///< 0: no shared expert
  bool shared_gate = false;   ///< the shared expert is multiplied by sigmoid of a learned gate
};

/// Where the norms of a block sit; see layers/block.h.
enum class NormPlacement : uint8_t { kPre, kPost, kBoth, kParallel };

struct LayerConfig {
  MixerKind mixer = MixerKind::kAttention;
  AttentionConfig attention;
  MlaConfig mla;
  RecurrentConfig recurrent;
  FeedForwardConfig feed_forward;
};

/// Tensor names (without "blk.N." and ".weight") where families differ.
struct WeightNames {
  std::string_view mixer_norm = "attn_norm";
  std::string_view mixer_post_norm = "post_attention_norm";
  std::string_view feed_forward_norm = "ffn_norm";
  std::string_view feed_forward_post_norm = "post_ffw_norm";
  std::string_view output_norm = "output_norm";
};

struct ModelConfig {
  std::string architecture;
  uint32_t width = 0;
  uint32_t vocab = 0;
  uint32_t max_context = 0;
  NormKind norm = NormKind::kRms;
  float eps = 1e-5F;
  NormPlacement placement = NormPlacement::kPre;
  bool two_parallel_norms = false;  ///< kParallel: the feed-forward part has a norm of its own
  float embedding_scale = 1.0F;
  float residual_scale = 1.0F;
  float logit_scale = 1.0F;
  float logit_soft_cap = 0.0F;
  bool learned_positions = false;
  uint32_t per_layer_width = 0;     ///< gemma4: size of the per-layer token embeddings; 0: none
  bool layer_output_scale = false;  ///< gemma4: each block's result is multiplied by a stored number
  WeightNames names;
  std::vector<RopeConfig> ropes;
  std::vector<LayerConfig> layers;
};

}  // namespace kvasir
