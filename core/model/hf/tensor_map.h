// Which tensor of a Hugging Face folder is which in GGUF's terms, per model_type. Pure over its inputs.
#pragma once

#include "core/model/hf/json_value.h"
#include "core/model/hf/tensor_builder.h"

namespace kvasir {

/// Sizes that the rearrangements need, from config.json.
struct FolderShape {
  std::string model_type;
  uint64_t layers = 0, heads = 0, kv_heads = 0, head_dim = 0, width = 0;
  uint64_t experts = 0;
  uint64_t no_rope_dims = 0, v_dim = 0, latent = 0;                     ///< MLA
  uint64_t key_heads = 0, value_heads = 0, key_dim = 0, value_dim = 0;  ///< delta rule
};

/// Fills `builder` with every tensor of the model. Errors: kCorrupt (missing tensor, other shape), kUnsupported.
Result<void> map_tensors(TensorBuilder& builder, const FolderShape& shape);

// The families whose layout differs by more than names (tensor_rearrange.cpp).
Result<void> map_falcon_qkv(TensorBuilder& b, const FolderShape& s, uint64_t layer);
Result<void> map_neox_qkv(TensorBuilder& b, const FolderShape& s, uint64_t layer);
Result<void> map_gpt2_layer(TensorBuilder& b, const FolderShape& s, uint64_t layer);
Result<void> map_mla(TensorBuilder& b, const FolderShape& s, uint64_t layer);
Result<void> map_gpt_oss_experts(TensorBuilder& b, const FolderShape& s, uint64_t layer);
Result<void> map_delta_net(TensorBuilder& b, const FolderShape& s, uint64_t layer);
Result<void> map_mamba2(TensorBuilder& b, const FolderShape& s, uint64_t layer);

}  // namespace kvasir
