// Per-layer token embeddings (Gemma 3n, Gemma 4): every block adds a small projection of an embedding of its own, gated
// by the residual stream. The embeddings of all layers are looked up and mixed once per step.
#pragma once

#include "core/model/layers/sublayer.h"

namespace kvasir {

/// The part before the first block.
class PerLayerEmbedding {
 public:
  Result<void> plan(WeightPlan& plan, const ModelConfig& model);
  /// [T, layers * per_layer_width] for the step's tokens; x is the scaled token embedding.
  Mat run(Step& step, Mat x, std::span<const TokenId> tokens) const;

 private:
  uint32_t width_ = 0, layers_ = 0;
  float eps_ = 0.0F;
  const Weight* table_ = nullptr;
  const Weight* projection_ = nullptr;
  const Weight* norm_ = nullptr;
};

/// The part at the end of a block.
class PerLayerInput {
 public:
  Result<void> plan(const LayerScope& scope);
  /// x += norm(W' (gelu(W x) * e)), e this layer's columns of step.per_layer.
  void run(Step& step, Mat x) const;

 private:
  uint32_t width_ = 0, index_ = 0;
  Projection gate_, out_;
  NormSpec norm_;
};

}  // namespace kvasir
