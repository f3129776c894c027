// The decoder, written once for all families: embedding, blocks, head. What differs between families is in ModelConfig
// and in the parts that a block is composed of (layers/). Weights are borrowed; engine thread only while running.
#pragma once

#include <memory>
#include <vector>

#include "backends/backend.h"
#include "core/model/layers/block.h"
#include "core/model/model_config.h"
#include "core/model/weight_plan.h"

namespace kvasir {

/// What is wanted of which rows of a step: all logits, or the likeliest tokens.
struct HeadOutput {
  std::span<const uint32_t> rows;
  std::span<float> logits;     ///< [rows][vocabulary]
  std::span<Candidate> best;   ///< [rows][count], if there are no logits
  uint32_t count = 0;
};

class Transformer {
 public:
  /// Registers every weight that `config` needs. Errors: kCorrupt (tensors missing or of another shape).
  static Result<std::unique_ptr<Transformer>> create(ModelConfig config, WeightPlan& plan);

  /// One step, as Model::forward(). Errors: kBackend, and what the stream reports.
  Result<void> forward(Stream& stream, KvPool& pool, const StepLayout& layout, std::span<const TokenId> tokens,
                       const HeadOutput& out) const;

  const ModelConfig& config() const noexcept { return config_; }
  /// Layers and state sizes of the caches; page and slot counts are left to the caller.
  const KvPoolSpec& caches() const noexcept { return caches_; }
  /// Per cache group: its window, 0 if it keeps everything.
  const std::vector<uint32_t>& group_windows() const noexcept { return group_windows_; }
  /// As Model::key_ropes().
  Result<std::vector<RopeSpec>> key_ropes() const;
  /// longrope: takes the short or the long frequencies for good; returns the positions that they are right for. Before
  /// the first forward().
  uint32_t choose_context(uint32_t tokens);

 private:
  explicit Transformer(ModelConfig config) : config_(std::move(config)) {}
  Result<void> plan_weights(WeightPlan& plan);
  void number_groups();
  void head(Step& step, Mat x, const HeadOutput& out) const;

  ModelConfig config_;
  KvPoolSpec caches_;
  std::vector<uint32_t> group_windows_;
  std::vector<std::unique_ptr<Block>> blocks_;
  const Weight* embedding_ = nullptr;
  const Weight* positions_ = nullptr;
  PerLayerEmbedding per_layer_;
  NormSpec output_norm_;
  const Weight* output_ = nullptr;  ///< null: tied to the embedding
  const Weight* output_bias_ = nullptr;
};

}  // namespace kvasir
