#include "core/model/families/config_reader.h"

#include <algorithm>
#include <cmath>

#include "core/model/file_source.h"
#include "core/model/rope.h"

namespace kvasir {

Result<std::optional<uint32_t>> ConfigReader::optional(std::string_view key, uint32_t low, uint32_t high) const {
  const auto value = KVASIR_TRY(file_.metadata().integer(full(key), low, high));
  return value ? std::optional<uint32_t>(static_cast<uint32_t>(*value)) : std::nullopt;
}

Result<uint32_t> ConfigReader::required(std::string_view key, uint32_t low, uint32_t high) const {
  const auto value = KVASIR_TRY(optional(key, low, high));
  if (!value) return Failure(Code::kCorrupt, "metadata " + full(key) + " is missing");
  return *value;
}

Result<uint32_t> ConfigReader::optional_or(std::string_view key, uint32_t fallback, uint32_t low, uint32_t high) const {
  return KVASIR_TRY(optional(key, low, high)).value_or(fallback);
}

Result<std::optional<float>> ConfigReader::number(std::string_view key) const {
  const auto value = KVASIR_TRY(file_.metadata().real(full(key)));
  return value ? std::optional<float>(static_cast<float>(*value)) : std::nullopt;
}

Result<std::optional<float>> ConfigReader::positive(std::string_view key) const {
  const auto value = KVASIR_TRY(number(key));
  if (value && !(*value > 0.0F && std::isfinite(*value))) {
    return Failure(Code::kCorrupt, "metadata " + full(key) + " is not above zero");
  }
  return value;
}

Result<float> ConfigReader::number_or(std::string_view key, float fallback) const {
  return KVASIR_TRY(number(key)).value_or(fallback);
}

Result<bool> ConfigReader::flag_or(std::string_view key, bool fallback) const {
  return KVASIR_TRY(file_.metadata().boolean(full(key))).value_or(fallback);
}

Result<std::string> ConfigReader::text_or(std::string_view key, std::string_view fallback) const {
  return std::string(KVASIR_TRY(file_.metadata().string(full(key))).value_or(fallback));
}

Result<std::vector<uint32_t>> ConfigReader::per_layer(std::string_view key, size_t layers,
                                                      std::optional<uint32_t> fallback, uint32_t low,
                                                      uint32_t high) const {
  const MetaValue* value = file_.metadata().find(full(key));
  if (value == nullptr || !std::holds_alternative<MetaArray>(*value)) {
    const auto one = KVASIR_TRY(optional(key, low, high));
    if (!one && !fallback) return Failure(Code::kCorrupt, "metadata " + full(key) + " is missing");
    return std::vector<uint32_t>(layers, one ? *one : *fallback);
  }
  const auto numbers = KVASIR_TRY(file_.metadata().integers(full(key)));
  if (numbers->size() != layers) {
    return Failure(Code::kCorrupt, "metadata " + full(key) + " has " + std::to_string(numbers->size()) +
                                       " elements for " + std::to_string(layers) + " layers");
  }
  std::vector<uint32_t> out;
  for (const int64_t n : *numbers) {
    if (n < low || n > high) return Failure(Code::kCorrupt, "metadata " + full(key) + " holds " + std::to_string(n));
    out.push_back(static_cast<uint32_t>(n));
  }
  return out;
}

Result<std::optional<std::vector<bool>>> ConfigReader::flags_per_layer(std::string_view key, size_t layers) const {
  using Out = std::optional<std::vector<bool>>;
  const MetaValue* value = file_.metadata().find(full(key));
  if (value == nullptr) return Out();
  const auto numbers = KVASIR_TRY(file_.metadata().integers(full(key)));
  const uint32_t all = KVASIR_TRY(required("block_count", 1, limits_.max_layers));
  if (numbers->size() != layers && numbers->size() != all) {
    return Failure(Code::kCorrupt, "metadata " + full(key) + " has " + std::to_string(numbers->size()) +
                                       " elements for " + std::to_string(layers) + " layers");
  }
  std::vector<bool> out;
  for (size_t i = 0; i < layers; ++i) out.push_back((*numbers)[i] != 0);
  return Out(std::move(out));
}

Result<uint32_t> ConfigReader::vocabulary_size() const {
  const auto* tokens = KVASIR_TRY(file_.metadata().strings("tokenizer.ggml.tokens"));
  if (tokens == nullptr) {
    // A folder's vocabulary is in its tokenizer files, often with fewer tokens than the embedding has rows.
    const auto rows = KVASIR_TRY(optional("vocab_size", 1, static_cast<uint32_t>(limits_.max_vocab)));
    if (rows) return *rows;
  }
  if (tokens == nullptr || tokens->empty())
    return Failure(Code::kCorrupt, "the file has no vocabulary (tokenizer.ggml.tokens)");
  if (tokens->size() > limits_.max_vocab)
    return Failure(Code::kTooLarge, "the vocabulary has more tokens than allowed");
  return static_cast<uint32_t>(tokens->size());
}

Result<ModelConfig> ConfigReader::base(NormKind norm) const {
  ModelConfig config;
  config.architecture = architecture_;
  config.norm = norm;
  config.width = KVASIR_TRY(required("embedding_length", 1, limits_.max_width));
  config.layers.resize(KVASIR_TRY(required("block_count", 1, limits_.max_layers)));
  const uint32_t promised = KVASIR_TRY(required("context_length", 1, UINT32_MAX));
  config.max_context = std::min(promised, limits_.max_context);
  config.vocab = KVASIR_TRY(vocabulary_size());
  const char* eps_key = norm == NormKind::kRms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon";
  const auto eps = KVASIR_TRY(number(eps_key));
  if (!eps) return Failure(Code::kCorrupt, "metadata " + full(eps_key) + " is missing");
  if (!(*eps >= 0.0F && *eps < 1.0F))
    return Failure(Code::kCorrupt, "metadata " + full(eps_key) + " is not from 0 to 1");
  config.eps = *eps;
  KVASIR_TRY(read_attention(config));
  KVASIR_TRY(read_feed_forward(config));
  // Trailing blocks that only predict further tokens (multi-token prediction) are not part of the decoder.
  const auto all = static_cast<uint32_t>(config.layers.size());
  config.layers.resize(all - KVASIR_TRY(optional_or("nextn_predict_layers", 0, 0, all - 1)));
  return config;
}

Result<void> ConfigReader::read_attention(ModelConfig& config) const {
  const size_t n = config.layers.size();
  // Zero heads belong to layers without attention; a family that has none must not come here with them unasked.
  const auto heads = KVASIR_TRY(per_layer("attention.head_count", n, std::nullopt, 0, limits_.max_heads));
  const auto kv_heads = KVASIR_TRY(per_layer("attention.head_count_kv", n, 0, 0, limits_.max_heads));
  const bool kv_given = file_.metadata().contains(full("attention.head_count_kv"));
  const auto k_dim = KVASIR_TRY(optional("attention.key_length", 1, limits_.max_head_size));
  const auto v_dim = KVASIR_TRY(optional("attention.value_length", 1, limits_.max_head_size));
  const auto scale = KVASIR_TRY(positive("attention.scale"));
  for (size_t i = 0; i < n; ++i) {
    AttentionConfig& a = config.layers[i].attention;
    a.heads = heads[i];
    a.kv_heads = kv_given ? kv_heads[i] : heads[i];
    if (a.heads == 0) continue;
    if (!k_dim && config.width % a.heads != 0) {
      return Failure(Code::kCorrupt, "metadata " + full("attention.head_count") + " = " + std::to_string(a.heads) +
                                         " does not divide the embedding length " + std::to_string(config.width));
    }
    a.k_dim = k_dim.value_or(config.width / a.heads);
    a.v_dim = v_dim.value_or(a.k_dim);
    a.scale = scale.value_or(1.0F / std::sqrt(static_cast<float>(a.k_dim)));
    if (a.k_dim > limits_.max_head_size) return Failure(Code::kTooLarge, "attention heads are larger than allowed");
    if (a.kv_heads > 0 && a.heads % a.kv_heads != 0) {
      return Failure(Code::kCorrupt, "metadata " + full("attention.head_count_kv") + " = " +
                                         std::to_string(a.kv_heads) + " does not divide " + std::to_string(a.heads) +
                                         " heads");
    }
  }
  return {};
}

Result<void> ConfigReader::read_feed_forward(ModelConfig& config) const {
  const auto widths = KVASIR_TRY(per_layer("feed_forward_length", config.layers.size(), 0, 0, limits_.max_width));
  for (size_t i = 0; i < widths.size(); ++i) config.layers[i].feed_forward.width = widths[i];
  return {};
}

Result<RopeConfig> ConfigReader::rope(RopeKind kind, uint32_t head_size, const RopeKeys& keys) const {
  RopeConfig rope;
  rope.kind = kind;
  rope.dims = KVASIR_TRY(optional_or(keys.dims, head_size, 1, limits_.max_head_size));
  if (rope.dims % 2 != 0 || rope.dims > head_size) {
    return Failure(Code::kCorrupt, "metadata " + full(keys.dims) + " = " + std::to_string(rope.dims) +
                                       " is odd or above the head size " + std::to_string(head_size));
  }
  const auto base = static_cast<double>(KVASIR_TRY(positive(keys.base)).value_or(keys.default_base));
  rope.inverse_frequency = rope_frequencies(base, rope.dims);
  if (keys.scaled) {
    KVASIR_TRY(scale_rope(rope, base));
    KVASIR_TRY(apply_stored_factors(rope));
  }
  for (const float f : rope.inverse_frequency) {
    if (!std::isfinite(f)) return Failure(Code::kCorrupt, "rope frequencies are not finite");
  }
  return rope;
}

Result<void> ConfigReader::scale_rope(RopeConfig& rope, double base) const {
  const std::string type = KVASIR_TRY(text_or("rope.scaling.type", "none"));
  const auto stored = KVASIR_TRY(positive("rope.scaling.factor"));
  const auto legacy = KVASIR_TRY(positive("rope.scale_linear"));
  const float factor = stored ? *stored : legacy.value_or(1.0F);
  if (type == "linear" || (type == "none" && legacy)) {
    for (float& f : rope.inverse_frequency) f /= factor;
  } else if (type == "yarn") {
    YarnScaling yarn;
    yarn.factor = static_cast<double>(factor);
    yarn.original_context = KVASIR_TRY(required("rope.scaling.original_context_length", 1, UINT32_MAX));
    yarn.beta_fast = static_cast<double>(KVASIR_TRY(positive("rope.scaling.yarn_beta_fast")).value_or(32.0F));
    yarn.beta_slow = static_cast<double>(KVASIR_TRY(positive("rope.scaling.yarn_beta_slow")).value_or(1.0F));
    yarn.truncate = architecture_ != "gpt-oss";  // its configuration says so, its GGUF cannot
    rope.inverse_frequency = yarn_frequencies(base, rope.dims, yarn);
    rope.magnitude = yarn_magnitude(yarn.factor) * KVASIR_TRY(number_or("rope.scaling.attn_factor", 1.0F));
  } else if (type != "none" && type != "longrope") {
    return Failure(Code::kUnsupported,
                   "rope scaling \"" + printable(type) + "\" is not supported (none, linear, yarn, longrope are)");
  }
  return {};
}

Result<void> ConfigReader::apply_stored_factors(RopeConfig& rope) const {
  const uint32_t pairs = rope.dims / 2;
  if (file_.find("rope_freqs.weight") != nullptr) {
    const auto divisors = KVASIR_TRY(factors("rope_freqs.weight", pairs));
    rope.inverse_frequency = divide_frequencies(std::move(rope.inverse_frequency), divisors);
  }
  if (file_.find("rope_factors_long.weight") != nullptr) {
    const auto plain = rope.inverse_frequency;
    rope.inverse_frequency = divide_frequencies(plain, KVASIR_TRY(factors("rope_factors_long.weight", pairs)));
    rope.short_inverse_frequency = divide_frequencies(plain, KVASIR_TRY(factors("rope_factors_short.weight", pairs)));
    rope.short_context = KVASIR_TRY(required("rope.scaling.original_context_length", 1, UINT32_MAX));
    rope.magnitude = KVASIR_TRY(number_or("rope.scaling.attn_factor", 1.0F));
  }
  return {};
}

Result<std::vector<float>> ConfigReader::factors(std::string_view tensor, uint32_t count) const {
  const FileTensor* t = file_.find(tensor);
  if (t == nullptr) return Failure(Code::kCorrupt, "tensor " + std::string(tensor) + " is missing");
  if (t->values() != count) {
    return Failure(Code::kCorrupt, "tensor " + std::string(tensor) + " has " + std::to_string(t->values()) +
                                       " values, not " + std::to_string(count));
  }
  auto values = KVASIR_TRY(read_values(*t));
  for (const float v : values) {
    if (!(v > 0.0F))
      return Failure(Code::kCorrupt, "tensor " + std::string(tensor) + " holds a factor that is not above zero");
  }
  return values;
}

Result<ModelConfig> ConfigReader::rotary_base(NormKind norm, RopeKind kind) const {
  ModelConfig config = KVASIR_TRY(base(norm));
  for (LayerConfig& layer : config.layers) {
    if (layer.attention.heads == 0)
      return Failure(Code::kCorrupt, "metadata " + full("attention.head_count") + " is 0");
    if (layer.attention.kv_heads == 0)
      return Failure(Code::kCorrupt, "metadata " + full("attention.head_count_kv") + " is 0");
    layer.attention.rope = 0;
  }
  config.ropes.push_back(KVASIR_TRY(rope(kind, config.layers[0].attention.k_dim)));
  return config;
}

Result<std::vector<bool>> ConfigReader::windowed_layers(const ModelConfig& config, uint32_t period) const {
  const size_t n = config.layers.size();
  const MetaValue* pattern = file_.metadata().find(full("attention.sliding_window_pattern"));
  if (pattern != nullptr && std::holds_alternative<MetaArray>(*pattern)) {
    return *KVASIR_TRY(flags_per_layer("attention.sliding_window_pattern", n));
  }
  period = KVASIR_TRY(optional_or("attention.sliding_window_pattern", period, 1, limits_.max_layers));
  std::vector<bool> out(n);
  for (size_t i = 0; i < n; ++i) out[i] = (i + 1) % period != 0;
  return out;
}

Result<void> ConfigReader::read_experts(ModelConfig& config, uint32_t first) const {
  const uint32_t experts = KVASIR_TRY(required("expert_count", 1, limits_.max_experts));
  const uint32_t top_k = KVASIR_TRY(required("expert_used_count", 1, experts));
  const auto width = KVASIR_TRY(optional("expert_feed_forward_length", 1, limits_.max_width));
  const float scale = KVASIR_TRY(number_or("expert_weights_scale", 1.0F));
  const bool normalise = KVASIR_TRY(flag_or("expert_weights_norm", false));
  for (size_t i = first; i < config.layers.size(); ++i) {
    FeedForwardConfig& f = config.layers[i].feed_forward;
    f.kind = FeedForwardKind::kMoe;
    f.experts = experts;
    f.top_k = top_k;
    f.width = width.value_or(f.width);
    f.weight_scale = scale == 0.0F ? 1.0F : scale;
    f.normalise = normalise;
  }
  return {};
}

}  // namespace kvasir
