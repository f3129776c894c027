#include "core/model/hf/tensor_map.h"

#include <array>

namespace kvasir {
namespace {

struct Name {
  std::string_view hf, gguf;
};

// Names inside a layer, without ".weight" and ".bias". A later table overrides an earlier one.
constexpr Name kCommonLayer[] = {
    {"input_layernorm", "attn_norm"},
    {"post_attention_layernorm", "ffn_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.qkv_proj", "attn_qkv"},
    {"self_attn.o_proj", "attn_output"},
    {"self_attn.dense", "attn_output"},
    {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
    {"mlp.gate_up_proj", "ffn_up"},
    {"mlp.fc1", "ffn_up"},
    {"mlp.fc2", "ffn_down"},
    {"mlp.c_fc", "ffn_up"},
    {"mlp.c_proj", "ffn_down"},
    {"mlp.dense_h_to_4h", "ffn_up"},
    {"mlp.dense_4h_to_h", "ffn_down"},
    {"mlp.gate", "ffn_gate_inp"},
    {"mlp.router", "ffn_gate_inp"},
    {"block_sparse_moe.gate", "ffn_gate_inp"},
    {"mlp.shared_expert.gate_proj", "ffn_gate_shexp"},
    {"mlp.shared_expert.up_proj", "ffn_up_shexp"},
    {"mlp.shared_expert.down_proj", "ffn_down_shexp"},
    {"mlp.shared_experts.gate_proj", "ffn_gate_shexp"},
    {"mlp.shared_experts.up_proj", "ffn_up_shexp"},
    {"mlp.shared_experts.down_proj", "ffn_down_shexp"},
    {"mlp.shared_expert_gate", "ffn_gate_inp_shexp"},
    {"self_attention.dense", "attn_output"},
    {"attention.dense", "attn_output"},
    {"self_attn.q_a_proj", "attn_q_a"},
    {"self_attn.q_a_layernorm", "attn_q_a_norm"},
    {"self_attn.q_b_proj", "attn_q_b"},
    {"self_attn.kv_a_proj_with_mqa", "attn_kv_a_mqa"},
    {"self_attn.kv_a_layernorm", "attn_kv_a_norm"},
    {"pre_feedforward_layernorm", "ffn_norm"},
    {"post_feedforward_layernorm", "post_ffw_norm"},
    {"ln_attn", "attn_norm_2"},
    {"ln_mlp", "attn_norm"},
    {"conv.in_proj", "shortconv.in_proj"},
    {"conv.out_proj", "shortconv.out_proj"},
    {"feed_forward.w1", "ffn_gate"},
    {"feed_forward.w2", "ffn_down"},
    {"feed_forward.w3", "ffn_up"},
    {"operator_norm", "attn_norm"},
    {"ffn_norm", "ffn_norm"},
    {"self_attn.out_proj", "attn_output"},
    {"self_attn.q_layernorm", "attn_q_norm"},
    {"self_attn.k_layernorm", "attn_k_norm"},
    {"per_layer_input_gate", "inp_gate"},
    {"per_layer_projection", "proj"},
    {"post_per_layer_input_norm", "post_norm"},
};
constexpr Name kPostAttentionNorm[] = {{"post_attention_layernorm", "post_attention_norm"}};
constexpr Name kGlm4[] = {{"post_self_attn_layernorm", "post_attention_norm"}, {"post_mlp_layernorm", "post_ffw_norm"}};

struct FolderFamily {
  std::string_view model_type;
  std::string_view layer_prefix;  ///< "{prefix}N."
  std::span<const Name> overrides;
  bool norms_plus_one = false;          ///< files hold w of (1 + w)
  std::array<std::string_view, 4> top;  ///< embedding, output norm, output, positions
};

constexpr std::array<std::string_view, 4> kModelTop = {"model.embed_tokens", "model.norm", "lm_head", ""};
constexpr FolderFamily kFamilies[] = {
    {"llama", "model.layers.", {}, false, kModelTop},
    {"mistral", "model.layers.", {}, false, kModelTop},
    {"mixtral", "model.layers.", {}, false, kModelTop},
    {"qwen2", "model.layers.", {}, false, kModelTop},
    {"qwen2_moe", "model.layers.", {}, false, kModelTop},
    {"qwen3", "model.layers.", {}, false, kModelTop},
    {"qwen3_moe", "model.layers.", {}, false, kModelTop},
    {"gemma", "model.layers.", {}, true, kModelTop},
    {"gemma2", "model.layers.", kPostAttentionNorm, true, kModelTop},
    {"gemma3_text", "model.layers.", kPostAttentionNorm, true, kModelTop},
    {"gemma4_text", "model.layers.", kPostAttentionNorm, false, kModelTop},
    {"phi", "model.layers.", {}, false, {"model.embed_tokens", "model.final_layernorm", "lm_head", ""}},
    {"phi3", "model.layers.", {}, false, kModelTop},
    {"falcon", "transformer.h.", {}, false, {"transformer.word_embeddings", "transformer.ln_f", "lm_head", ""}},
    {"gpt2", "h.", {}, false, {"wte", "ln_f", "lm_head", "wpe"}},
    {"gpt_neox", "gpt_neox.layers.", {}, false, {"gpt_neox.embed_in", "gpt_neox.final_layer_norm", "embed_out", ""}},
    {"starcoder2", "model.layers.", {}, false, kModelTop},
    {"stablelm", "model.layers.", {}, false, kModelTop},
    {"olmo2", "model.layers.", kPostAttentionNorm, false, kModelTop},
    {"olmo3", "model.layers.", kPostAttentionNorm, false, kModelTop},
    {"granite", "model.layers.", {}, false, kModelTop},
    {"smollm3", "model.layers.", {}, false, kModelTop},
    {"cohere", "model.layers.", {}, false, kModelTop},
    {"cohere2", "model.layers.", {}, false, kModelTop},
    {"deepseek_v2", "model.layers.", {}, false, kModelTop},
    {"deepseek_v3", "model.layers.", {}, false, kModelTop},
    {"glm4", "model.layers.", kGlm4, false, kModelTop},
    {"gpt_oss", "model.layers.", kPostAttentionNorm, false, kModelTop},
    {"lfm2", "model.layers.", {}, false, {"model.embed_tokens", "model.embedding_norm", "lm_head", ""}},
    {"mamba2", "backbone.layers.", {}, false, {"backbone.embeddings", "backbone.norm_f", "lm_head", ""}},
    {"qwen3_next", "model.layers.", kPostAttentionNorm, true, kModelTop},
    {"qwen3_5_text", "model.layers.", kPostAttentionNorm, true, kModelTop},
};

bool is_norm(std::string_view gguf) {
  return gguf.find("norm") != std::string_view::npos;
}

Result<void> add_named(TensorBuilder& b, const FolderFamily& family, const std::string& hf, const std::string& gguf,
                       bool norm) {
  const SafeTensor* tensor = b.take(hf);
  if (tensor == nullptr || b.has(gguf)) return {};
  if (norm && family.norms_plus_one && gguf.ends_with(".weight")) {
    return b.add_made(gguf, *tensor, {tensor->shape.rbegin(), tensor->shape.rend()}, [](std::vector<float> values) {
      for (float& v : values) v += 1.0F;
      return values;
    });
  }
  return b.add(gguf, *tensor);
}

Result<void> map_experts(TensorBuilder& b, const FolderShape& s, const std::string& layer, const std::string& block) {
  struct Part {
    std::string_view hf, gguf;
  };
  constexpr Part kParts[] = {{"gate_proj", "ffn_gate_exps"}, {"up_proj", "ffn_up_exps"}, {"down_proj", "ffn_down_exps"},
                             {"w1", "ffn_gate_exps"},        {"w3", "ffn_up_exps"},      {"w2", "ffn_down_exps"}};
  for (const std::string_view home : {"mlp.experts.", "block_sparse_moe.experts."}) {
    for (const Part& part : kParts) {
      std::vector<const SafeTensor*> stack;
      for (uint64_t e = 0; e < s.experts; ++e) {
        const SafeTensor* one =
            b.take(layer + std::string(home) + std::to_string(e) + "." + std::string(part.hf) + ".weight");
        if (one == nullptr) break;
        stack.push_back(one);
      }
      if (stack.empty()) continue;
      if (stack.size() != s.experts) return Failure(Code::kCorrupt, "layer " + layer + " lacks some of its experts");
      KVASIR_TRY(b.add_stack(block + std::string(part.gguf) + ".weight", stack));
    }
  }
  if (const SafeTensor* bias = b.take(layer + "mlp.gate.e_score_correction_bias"))
    KVASIR_TRY(b.add(block + "exp_probs_b.bias", *bias));
  return {};
}

Result<void> map_special(TensorBuilder& b, const FolderShape& s, uint64_t n) {
  if (s.model_type == "falcon") return map_falcon_qkv(b, s, n);
  if (s.model_type == "gpt_neox") return map_neox_qkv(b, s, n);
  if (s.model_type == "gpt2") return map_gpt2_layer(b, s, n);
  if (s.model_type.starts_with("deepseek")) return map_mla(b, s, n);
  if (s.model_type == "gpt_oss") return map_gpt_oss_experts(b, s, n);
  if (s.model_type == "mamba2") return map_mamba2(b, s, n);
  if (s.model_type == "qwen3_next" || s.model_type == "qwen3_5_text") return map_delta_net(b, s, n);
  return {};
}

bool overridden(const FolderFamily& family, std::string_view hf) {
  for (const Name& name : family.overrides) {
    if (name.hf == hf) return true;
  }
  return false;
}

Result<void> map_layer(TensorBuilder& b, const FolderFamily& family, const FolderShape& s, uint64_t n) {
  const std::string layer = std::string(family.layer_prefix) + std::to_string(n) + ".";
  const std::string block = "blk." + std::to_string(n) + ".";
  KVASIR_TRY(map_special(b, s, n));
  for (const std::span<const Name> table : {family.overrides, std::span<const Name>(kCommonLayer)}) {
    for (const Name& name : table) {
      if (table.data() != family.overrides.data() && overridden(family, name.hf)) continue;
      for (const std::string_view kind : {".weight", ".bias"}) {
        KVASIR_TRY(add_named(b, family, layer + std::string(name.hf) + std::string(kind),
                             block + std::string(name.gguf) + std::string(kind), is_norm(name.gguf)));
      }
    }
  }
  KVASIR_TRY(map_experts(b, s, layer, block));
  if (const SafeTensor* sinks = b.take(layer + "self_attn.sinks"))
    KVASIR_TRY(b.add(block + "attn_sinks.weight", *sinks));
  if (const SafeTensor* scale = b.take(layer + "layer_scalar"))
    KVASIR_TRY(b.add(block + "layer_output_scale.weight", *scale));
  if (const SafeTensor* taps = b.take(layer + "conv.conv.weight")) {
    if (taps->shape.size() != 3)
      return Failure(Code::kCorrupt, "tensor " + printable(taps->name) + " has not three dimensions");
    KVASIR_TRY(b.add_shaped(block + "shortconv.conv.weight", *taps, {taps->shape[2], taps->shape[0]}));
  }
  return {};
}

Result<void> map_top(TensorBuilder& b, const FolderFamily& family) {
  const std::string_view output_norm = family.model_type == "lfm2" ? "token_embd_norm" : "output_norm";
  const std::array<std::string_view, 4> gguf = {"token_embd", output_norm, "output", "position_embd"};
  for (size_t i = 0; i < gguf.size(); ++i) {
    if (family.top[i].empty()) continue;
    for (const std::string_view kind : {".weight", ".bias"}) {
      KVASIR_TRY(add_named(b, family, std::string(family.top[i]) + std::string(kind),
                           std::string(gguf[i]) + std::string(kind), i == 1));
    }
  }
  for (const Name& name : {Name{"model.embed_tokens_per_layer", "per_layer_token_embd"},
                           Name{"model.per_layer_model_projection", "per_layer_model_proj"},
                           Name{"model.per_layer_projection_norm", "per_layer_proj_norm"}}) {
    KVASIR_TRY(add_named(b, family, std::string(name.hf) + ".weight", std::string(name.gguf) + ".weight", false));
  }
  // Tied weights are sometimes stored only as the output matrix.
  if (!b.has("token_embd.weight")) {
    if (const SafeTensor* output = b.take(std::string(family.top[2]) + ".weight"))
      KVASIR_TRY(b.add("token_embd.weight", *output));
  }
  return {};
}

}  // namespace

Result<void> map_tensors(TensorBuilder& b, const FolderShape& shape) {
  for (const FolderFamily& family : kFamilies) {
    if (family.model_type != shape.model_type) continue;
    for (uint64_t n = 0; n < shape.layers; ++n) KVASIR_TRY(map_layer(b, family, shape, n));
    return map_top(b, family);
  }
  std::string known;
  for (const FolderFamily& family : kFamilies) known += (known.empty() ? "" : ", ") + std::string(family.model_type);
  return Failure(Code::kUnsupported,
                 "model_type " + printable(shape.model_type) + " is not supported; these are: " + known);
}

}  // namespace kvasir
