#include "core/model/hf/folder_config.h"

#include <cmath>
#include <numbers>

#include "core/model/file_source.h"
#include "core/model/hf/folder_mapper.h"

namespace kvasir {
namespace {

struct Architecture {
  std::string_view model_type, gguf;
};
constexpr Architecture kArchitectures[] = {
    {"llama", "llama"},
    {"mistral", "llama"},
    {"mixtral", "llama"},
    {"qwen2", "qwen2"},
    {"qwen2_moe", "qwen2moe"},
    {"qwen3", "qwen3"},
    {"qwen3_moe", "qwen3moe"},
    {"gemma", "gemma"},
    {"gemma2", "gemma2"},
    {"gemma3_text", "gemma3"},
    {"gemma4_text", "gemma4"},
    {"phi", "phi2"},
    {"phi3", "phi3"},
    {"falcon", "falcon"},
    {"gpt2", "gpt2"},
    {"gpt_neox", "gptneox"},
    {"starcoder2", "starcoder2"},
    {"stablelm", "stablelm"},
    {"olmo2", "olmo2"},
    {"olmo3", "olmo2"},
    {"granite", "granite"},
    {"smollm3", "smollm3"},
    {"cohere", "command-r"},
    {"cohere2", "cohere2"},
    {"deepseek_v2", "deepseek2"},
    {"deepseek_v3", "deepseek2"},
    {"glm4", "glm4"},
    {"gpt_oss", "gpt-oss"},
    {"lfm2", "lfm2"},
    {"mamba2", "mamba2"},
    {"qwen3_next", "qwen3next"},
    {"qwen3_5_text", "qwen35"},
};

uint64_t first_of(Mapper& m, std::initializer_list<std::string_view> keys,
                  std::optional<uint64_t> fallback = std::nullopt) {
  for (const auto key : keys) {
    if (const auto v = m.integer(key)) return *v;
  }
  if (!fallback) m.fail("config.json: " + std::string(*keys.begin()) + " is missing");
  return fallback.value_or(0);
}

void map_sizes(Mapper& m) {
  FolderShape& s = m.shape();
  s.layers = first_of(m, {"num_hidden_layers", "n_layer"});
  if (s.layers == 0 || s.layers > m.limits().max_layers)
    m.fail("config.json: num_hidden_layers is 0 or more than allowed");
  s.width = first_of(m, {"hidden_size", "n_embd"});
  if (s.width > m.limits().max_width) m.fail("config.json: hidden_size is more than allowed");
  const bool recurrent_only = s.model_type == "mamba2";
  s.heads = recurrent_only ? 0 : first_of(m, {"num_attention_heads", "n_head"});
  if (!recurrent_only && (s.heads == 0 || s.width == 0)) m.fail("config.json: num_attention_heads or hidden_size is 0");
  if (s.heads > m.limits().max_heads) m.fail("config.json: num_attention_heads is more than allowed");
  s.kv_heads = first_of(m, {"num_key_value_heads", "num_kv_heads"}, s.heads);
  // Falcon's older decoder says "one" by a flag, and its newer one ignores that flag.
  if (s.model_type == "falcon" && !m.flag("new_decoder_architecture", false)) {
    s.kv_heads = m.flag("multi_query", true) ? 1 : s.heads;
  }
  if (!recurrent_only && (s.kv_heads == 0 || s.heads % std::max<uint64_t>(s.kv_heads, 1) != 0)) {
    m.fail("config.json: num_key_value_heads does not divide num_attention_heads");
  }
  const auto head_dim = s.model_type == "deepseek_v2" || s.model_type == "deepseek_v3" || recurrent_only
                            ? std::nullopt
                            : m.integer("head_dim", m.limits().max_head_size);
  s.head_dim = head_dim.value_or(s.heads == 0 ? 0 : s.width / s.heads);
  m.put("block_count", s.layers);
  m.put("vocab_size", m.required("vocab_size", m.limits().max_vocab));
  m.put("embedding_length", s.width);
  m.put("context_length",
        first_of(m, {"max_position_embeddings", "n_positions", "n_ctx"}, recurrent_only ? 1u << 20 : 2048));
  if (!recurrent_only) {
    m.put("attention.head_count", s.heads);
    if (s.model_type != "lfm2") m.put("attention.head_count_kv", s.kv_heads);
    if (head_dim && s.model_type != "gemma4_text") {
      m.put("attention.key_length", s.head_dim);
      m.put("attention.value_length", s.head_dim);
    }
  }
}

void map_feed_forward(Mapper& m) {
  const FolderShape& s = m.shape();
  const std::string& type = s.model_type;
  if (type == "gemma4_text") {
    const uint64_t width = m.required("intermediate_size"), shared = m.integer("num_kv_shared_layers").value_or(0);
    std::vector<uint32_t> widths(s.layers, static_cast<uint32_t>(width));
    if (m.flag("use_double_wide_mlp", false)) {
      for (uint64_t i = s.layers - std::min(shared, s.layers); i < s.layers; ++i)
        widths[i] = static_cast<uint32_t>(2 * width);
    }
    m.put_integers("feed_forward_length", widths);
    return;
  }
  const uint64_t fallback = type == "mamba2" ? 0 : 4 * s.width;
  m.put("feed_forward_length", first_of(m, {"intermediate_size", "ffn_hidden_size", "n_inner"}, fallback));
  const uint64_t experts = first_of(m, {"num_experts", "num_local_experts", "n_routed_experts"}, 0);
  if (experts == 0) return;
  if (experts > m.limits().max_experts) m.fail("config.json: more experts than allowed");
  m.shape().experts = experts;
  m.put("expert_count", experts);
  m.put("expert_used_count", m.required("num_experts_per_tok"));
  if (type == "gpt_oss") m.copy("intermediate_size", "expert_feed_forward_length");
  m.copy("moe_intermediate_size", "expert_feed_forward_length");
  m.copy("shared_expert_intermediate_size", "expert_shared_feed_forward_length");
  m.copy("n_shared_experts", "expert_shared_count");
  m.copy("first_k_dense_replace", "leading_dense_block_count");
  if (const auto groups = m.integer("n_group"); groups && *groups > 1) {
    m.put("expert_group_count", *groups);
    m.copy("topk_group", "expert_group_used_count");
  }
  m.copy_real("routed_scaling_factor", "expert_weights_scale");
  if (m.text("scoring_func") == "sigmoid" || type == "deepseek_v3") m.put("expert_gating_func", 2);
  if (type.starts_with("deepseek")) m.put_flag("expert_weights_norm", m.flag("norm_topk_prob", false));
}

void map_norms(Mapper& m) {
  for (const auto key : {"rms_norm_eps", "norm_eps"}) {
    if (const auto v = m.number(key)) m.put_real("attention.layer_norm_rms_epsilon", *v);
  }
  for (const auto key : {"layer_norm_eps", "layer_norm_epsilon", "norm_epsilon"}) {
    if (const auto v = m.number(key)) {
      m.put_real(m.shape().model_type == "mamba2" ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon",
                 *v);
    }
  }
}

void map_windows(Mapper& m) {
  const std::string& type = m.shape().model_type;
  const auto window = m.integer("sliding_window");
  // Qwen names a window that it does not use unless a flag says so.
  if (!window || *window == 0 || (type.starts_with("qwen") && !m.flag("use_sliding_window", false))) return;
  m.put("attention.sliding_window", *window);
  if (type == "olmo3" || type == "gemma4_text" || type == "cohere2" || type == "gpt_oss" || type == "gemma2" ||
      type == "gemma3_text") {
    const auto sliding = m.layer_types("sliding_attention");
    if (!sliding.empty()) m.put_flags("attention.sliding_window_pattern", sliding);
  }
}

double pi() {
  return std::numbers::pi;
}

/// The divisors of Llama 3's frequency scaling: transformers, _compute_llama3_parameters.
std::vector<float> llama3_divisors(Mapper& m, const JsonValue& scaling, double base, uint64_t dims) {
  const double factor = m.number_in(scaling, "factor").value_or(8.0),
               low = m.number_in(scaling, "low_freq_factor").value_or(1.0);
  const double high = m.number_in(scaling, "high_freq_factor").value_or(4.0);
  const double context = m.number_in(scaling, "original_max_position_embeddings").value_or(8192.0);
  std::vector<float> out;
  for (uint64_t i = 0; i < dims / 2; ++i) {
    const double wavelength = 2.0 * pi() * std::pow(base, 2.0 * static_cast<double>(i) / static_cast<double>(dims));
    double divisor = 1.0;
    if (wavelength > context / low) {
      divisor = factor;
    } else if (wavelength >= context / high && high != low) {
      const double smooth = (context / wavelength - low) / (high - low);
      divisor = 1.0 / ((1.0 - smooth) / factor + smooth);
    }
    out.push_back(static_cast<float>(divisor));
  }
  return out;
}

std::vector<float> factor_list(Mapper& m, const JsonValue& scaling, std::string_view key) {
  std::vector<float> out;
  const JsonValue* list = scaling.find(key);
  if (list == nullptr || list->array() == nullptr) {
    m.fail("config.json: rope_scaling." + std::string(key) + " is not an array");
    return out;
  }
  for (const auto& value : *list->array()) out.push_back(static_cast<float>(value.number().value_or(0.0)));
  return out;
}

void map_longrope(Mapper& m, const JsonValue& scaling) {
  m.out().rope_factors_long = factor_list(m, scaling, "long_factor");
  m.out().rope_factors_short = factor_list(m, scaling, "short_factor");
  const double original = static_cast<double>(
      m.integer("original_max_position_embeddings").value_or(m.integer("max_position_embeddings").value_or(4096)));
  const double context = static_cast<double>(m.integer("max_position_embeddings").value_or(4096));
  const double factor = context / original;
  m.put("rope.scaling.original_context_length", static_cast<uint64_t>(original));
  m.put_real("rope.scaling.attn_factor", factor <= 1.0 ? 1.0 : std::sqrt(1.0 + std::log(factor) / std::log(original)));
}

void map_yarn(Mapper& m, const JsonValue& scaling) {
  m.put_text("rope.scaling.type", "yarn");
  if (const auto v = m.number_in(scaling, "factor")) m.put_real("rope.scaling.factor", *v);
  if (const auto v = m.number_in(scaling, "original_max_position_embeddings")) {
    if (!(*v >= 1.0 && *v <= static_cast<double>(UINT32_MAX)))
      return m.fail("config.json: original_max_position_embeddings is out of range");
    m.put("rope.scaling.original_context_length", static_cast<uint64_t>(*v));
  }
  if (const auto v = m.number_in(scaling, "beta_fast")) m.put_real("rope.scaling.yarn_beta_fast", *v);
  if (const auto v = m.number_in(scaling, "beta_slow")) m.put_real("rope.scaling.yarn_beta_slow", *v);
  // GGUF stores a tenth of mscale_all_dim: the factor of its logarithm.
  if (const auto v = m.number_in(scaling, "mscale_all_dim")) m.put_real("rope.scaling.yarn_log_multiplier", 0.1 * *v);
}

void map_rope(Mapper& m) {
  const FolderShape& s = m.shape();
  if (s.model_type == "gpt2" || s.model_type == "mamba2") return;
  const JsonValue* parameters = m.find("rope_parameters");
  const JsonValue* scaling = m.find("rope_scaling");
  const JsonValue* local = nullptr;
  if (parameters != nullptr && parameters->find("full_attention") != nullptr) {
    local = parameters->find("sliding_attention");
    parameters = parameters->find("full_attention");
  }
  if (scaling == nullptr) scaling = parameters;
  const auto pick = [&](std::string_view key) {
    if (const auto v = m.number(key)) return v;
    return parameters == nullptr ? std::optional<double>() : m.number_in(*parameters, key);
  };
  const double base = pick("rope_theta").value_or(m.number("rotary_emb_base").value_or(10000.0));
  m.put_real("rope.freq_base", base);
  if (const auto v = m.number("rope_local_base_freq")) m.put_real("rope.freq_base_swa", *v);
  if (local != nullptr) m.put_real("rope.freq_base_swa", m.number_in(*local, "rope_theta").value_or(10000.0));
  const double partial = pick("partial_rotary_factor").value_or(m.number("rotary_pct").value_or(1.0));
  if (!(partial >= 0.0 && partial <= 1.0)) return m.fail("config.json: the rotated part of a head is not from 0 to 1");
  uint64_t dims = s.no_rope_dims != 0 ? m.integer("qk_rope_head_dim").value_or(0)
                                      : static_cast<uint64_t>(static_cast<double>(s.head_dim) * partial);
  const std::string kind = scaling == nullptr ? "default"
                           : scaling->find("rope_type") != nullptr && scaling->find("rope_type")->string() != nullptr
                               ? *scaling->find("rope_type")->string()
                           : scaling->find("type") != nullptr && scaling->find("type")->string() != nullptr
                               ? *scaling->find("type")->string()
                               : "default";
  if (s.model_type == "gemma4_text") return;  // its head sizes differ by layer: map_gemma4
  m.put("rope.dimension_count", dims);
  if (kind == "llama3") {
    m.out().rope_freqs = llama3_divisors(m, *scaling, base, dims);
  } else if (kind == "linear") {
    m.put_text("rope.scaling.type", "linear");
    if (const auto v = m.number_in(*scaling, "factor")) m.put_real("rope.scaling.factor", *v);
  } else if (kind == "yarn") {
    map_yarn(m, *scaling);
  } else if (kind == "longrope" || kind == "su") {
    map_longrope(m, *scaling);
  } else if (kind != "default") {
    m.fail("config.json: rope type \"" + printable(kind) +
               "\" is not supported (default, linear, llama3, yarn, longrope are)",
           Code::kUnsupported);
  }
}

void map_mla(Mapper& m) {
  FolderShape& s = m.shape();
  if (!s.model_type.starts_with("deepseek")) return;
  const uint64_t most = m.limits().max_head_size;
  const uint64_t rope = m.required("qk_rope_head_dim", most);
  s.no_rope_dims = m.required("qk_nope_head_dim", most);
  s.v_dim = m.required("v_head_dim", most);
  s.latent = m.required("kv_lora_rank", m.limits().max_width);
  m.copy("q_lora_rank", "attention.q_lora_rank");
  m.put("attention.kv_lora_rank", s.latent);
  m.put("attention.key_length", s.latent + rope);
  m.put("attention.value_length", s.latent);
  m.put("attention.key_length_mla", s.no_rope_dims + rope);
  m.put("attention.value_length_mla", s.v_dim);
}

void map_recurrent(Mapper& m) {
  FolderShape& s = m.shape();
  if (s.model_type == "lfm2") {
    m.put("shortconv.l_cache", m.required("conv_L_cache"));
    std::vector<uint32_t> kv;
    for (const bool full : m.layer_types("full_attention")) kv.push_back(full ? static_cast<uint32_t>(s.kv_heads) : 0);
    if (kv.size() != s.layers) m.fail("config.json: layer_types has not one entry per layer");
    m.put_integers("attention.head_count_kv", kv);
  } else if (s.model_type == "mamba2") {
    m.put("ssm.conv_kernel", m.required("conv_kernel"));
    m.put("ssm.inner_size", m.required("expand") * s.width);
    m.put("ssm.state_size", m.required("state_size"));
    m.put("ssm.time_step_rank", m.required("num_heads"));
    s.key_heads = m.required("n_groups", m.limits().max_state_heads);
    m.put("ssm.group_count", s.key_heads);
    m.put("attention.head_count", 0);
  } else if (s.model_type == "qwen3_next" || s.model_type == "qwen3_5_text") {
    s.key_heads = m.required("linear_num_key_heads", m.limits().max_state_heads);
    s.value_heads = m.required("linear_num_value_heads", m.limits().max_state_heads);
    s.key_dim = m.required("linear_key_head_dim", m.limits().max_head_size);
    s.value_dim = m.required("linear_value_head_dim", m.limits().max_head_size);
    if (s.key_heads == 0 || s.value_heads % std::max<uint64_t>(s.key_heads, 1) != 0)
      m.fail("config.json: linear_num_value_heads is no multiple of linear_num_key_heads");
    m.put("ssm.conv_kernel", m.required("linear_conv_kernel_dim"));
    m.put("ssm.state_size", s.key_dim);
    m.put("ssm.group_count", s.key_heads);
    m.put("ssm.time_step_rank", s.value_heads);
    m.put("ssm.inner_size", s.value_heads * s.value_dim);
    const auto linear = m.layer_types("linear_attention");
    if (!linear.empty()) m.put_flags("attention.recurrent_layers", linear);
  }
}

void map_gemma4(Mapper& m) {
  FolderShape& s = m.shape();
  if (s.model_type != "gemma4_text") return;
  uint64_t global = s.head_dim;
  if (const JsonValue* per_layer = m.find("per_layer_config"); per_layer != nullptr && per_layer->object() != nullptr) {
    for (const auto& [layer, entry] : *per_layer->object()) {
      if (const JsonValue* dim = entry.find("head_dim"))
        global = static_cast<uint64_t>(dim->integer(2, 4096).value_or(0));
    }
  } else if (const auto v = m.integer("global_head_dim", m.limits().max_head_size)) {
    global = *v;
  }
  if (global == 0) m.fail("config.json: head_dim of a layer is not an integer from 2 to 4096");
  m.put("attention.key_length", global);
  m.put("attention.value_length", global);
  m.put("attention.key_length_swa", s.head_dim);
  m.put("attention.value_length_swa", s.head_dim);
  m.put("rope.dimension_count", global);
  m.put("rope.dimension_count_swa", s.head_dim);
  m.copy("num_kv_shared_layers", "attention.shared_kv_layers");
  m.copy("hidden_size_per_layer_input", "embedding_length_per_layer_input");
  // Proportional rope: the first part of the pairs turns, the rest has no frequency (an endless divisor).
  double partial = 1.0;
  if (const JsonValue* p = m.find("rope_parameters"); p != nullptr && p->find("full_attention") != nullptr) {
    partial = m.number_in(*p->find("full_attention"), "partial_rotary_factor").value_or(1.0);
  }
  if (!(partial >= 0.0 && partial <= 1.0)) return m.fail("config.json: the rotated part of a head is not from 0 to 1");
  const auto turning = static_cast<uint64_t>(static_cast<double>(global) * partial / 2.0);
  for (uint64_t i = 0; i < global / 2; ++i) m.out().rope_freqs.push_back(i < turning ? 1.0F : 1e30F);
}

void map_scales(Mapper& m) {
  m.copy_real("attn_logit_softcapping", "attn_logit_softcapping");
  m.copy_real("final_logit_softcapping", "final_logit_softcapping");
  m.copy_real("attention_multiplier", "attention.scale");
  m.copy_real("embedding_multiplier", "embedding_scale");
  m.copy_real("residual_multiplier", "residual_scale");
  m.copy_real("logits_scaling", "logit_scale");
  m.copy_real("logit_scale", "logit_scale");
  const std::string& type = m.shape().model_type;
  if ((type == "gemma2" || type == "gemma3_text") && m.number("query_pre_attn_scalar").value_or(0.0) > 0.0) {
    m.put_real("attention.scale", 1.0 / std::sqrt(*m.number("query_pre_attn_scalar")));
  }
  if (type == "gpt_neox" || type == "stablelm")
    m.put_flag("use_parallel_residual", m.flag("use_parallel_residual", type == "gpt_neox"));
}

}  // namespace

Result<FolderConfig> read_folder_config(const JsonValue& config, const ModelLimits& limits) {
  const JsonValue* type = config.find("model_type");
  if (config.object() == nullptr || type == nullptr || type->string() == nullptr) {
    return Failure(Code::kCorrupt, "config.json: model_type is missing");
  }
  FolderConfig out;
  out.shape.model_type = *type->string();
  std::string known;
  for (const Architecture& row : kArchitectures) {
    known += (known.empty() ? "" : ", ") + std::string(row.model_type);
    if (row.model_type != out.shape.model_type) continue;
    out.metadata.insert("general.architecture", std::string(row.gguf));
    Mapper m(config, out, std::string(row.gguf), limits);
    // Each step trusts the sizes that the ones before it accepted.
    for (const auto step : {map_sizes, map_feed_forward, map_norms, map_windows, map_mla, map_rope, map_recurrent,
                            map_gemma4, map_scales}) {
      step(m);
      KVASIR_TRY(m.done());
    }
    return out;
  }
  return Failure(Code::kUnsupported,
                 "model_type " + printable(out.shape.model_type) + " is not supported; these are: " + known);
}

}  // namespace kvasir
