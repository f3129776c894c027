// What family readers share: checked access to "<architecture>.<key>", and the configuration that most families start
// from (pre-norm, grouped-query attention, gated feed-forward, one rotary table). Used once per load.
#pragma once

#include <string>
#include <string_view>

#include "core/model/model_config.h"
#include "core/model/model_file.h"

namespace kvasir {

/// Where a rotary table's numbers are, for families with more than one table.
struct RopeKeys {
  std::string_view base = "rope.freq_base";
  float default_base = 10000.0F;
  std::string_view dims = "rope.dimension_count";
  bool scaled = true;  ///< rope.scaling.* and stored factors apply
};

class ConfigReader {
 public:
  ConfigReader(const ModelFile& file, const ModelLimits& limits, std::string architecture)
      : file_(file), limits_(limits), architecture_(std::move(architecture)) {}

  const ModelFile& file() const noexcept { return file_; }
  const ModelLimits& limits() const noexcept { return limits_; }
  const std::string& architecture() const noexcept { return architecture_; }

  // Errors: kCorrupt, naming the key. A `high` of ModelLimits gives kTooLarge beyond it.
  Result<uint32_t> required(std::string_view key, uint32_t low, uint32_t high) const;
  Result<std::optional<uint32_t>> optional(std::string_view key, uint32_t low, uint32_t high) const;
  Result<uint32_t> optional_or(std::string_view key, uint32_t fallback, uint32_t low, uint32_t high) const;
  Result<std::optional<float>> number(std::string_view key) const;    ///< finite
  Result<std::optional<float>> positive(std::string_view key) const;  ///< finite and > 0
  Result<float> number_or(std::string_view key, float fallback) const;
  Result<bool> flag_or(std::string_view key, bool fallback) const;
  Result<std::string> text_or(std::string_view key, std::string_view fallback) const;
  /// One number for all layers, or an array with one per layer. Absent and no fallback: error.
  Result<std::vector<uint32_t>> per_layer(std::string_view key, size_t layers, std::optional<uint32_t> fallback,
                                          uint32_t low, uint32_t high) const;
  /// Array of bool, one per layer; absent: nothing.
  Result<std::optional<std::vector<bool>>> flags_per_layer(std::string_view key, size_t layers) const;

  /// Sizes, norm epsilon, attention and dense feed-forward of every layer, context, vocabulary. No rotary table yet.
  Result<ModelConfig> base(NormKind norm) const;
  /// One table for heads of `head_size`, of which the leading dimension_count dims rotate.
  Result<RopeConfig> rope(RopeKind kind, uint32_t head_size, const RopeKeys& keys = {}) const;
  /// base() with one table of `kind` in every layer.
  Result<ModelConfig> rotary_base(NormKind norm, RopeKind kind) const;
  /// Window in some layers: a stored pattern, else all but every `period`-th layer. `window` 0: none anywhere.
  Result<std::vector<bool>> windowed_layers(const ModelConfig& config, uint32_t period) const;
  /// Turns every layer from `first` on into a mixture of experts.
  Result<void> read_experts(ModelConfig& config, uint32_t first = 0) const;

 private:
  Result<uint32_t> vocabulary_size() const;
  std::string full(std::string_view key) const { return architecture_ + "." + std::string(key); }
  Result<void> read_attention(ModelConfig& config) const;
  Result<void> read_feed_forward(ModelConfig& config) const;
  Result<void> scale_rope(RopeConfig& rope, double base) const;
  Result<void> apply_stored_factors(RopeConfig& rope) const;
  Result<std::vector<float>> factors(std::string_view tensor, uint32_t count) const;

  const ModelFile& file_;
  ModelLimits limits_;
  std::string architecture_;
};

}  // namespace kvasir
