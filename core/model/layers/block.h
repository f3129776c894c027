// One block of a decoder: a mixer and a feed-forward part around the residual stream, with norms where the family has
// them. x is the residual; M, F the parts; n1, n2 norms before, p1, p2 norms after.
//   kPre       x += M(n1 x);            x += F(n2 x)                   llama, qwen, gpt2, ...
//   kPost      x += p1(M(x));           x += p2(F(x))                  olmo2
//   kBoth      x += p1(M(n1 x));        x += p2(F(n2 x))               gemma2, glm4
//   kParallel  x += M(n1 x) + F(n1 x)   (or F(n2 x))                   falcon, phi2, cohere, gpt-neox
#pragma once

#include <optional>

#include "core/model/layers/per_layer_input.h"
#include "core/model/layers/sublayer.h"

namespace kvasir {

class Block {
 public:
  /// Registers the weights of layer `scope.index`. Errors: those of the plan.
  static Result<std::unique_ptr<Block>> create(const LayerConfig& config, const LayerScope& scope);
  void run(Step& step, Mat x) const;

 private:
  explicit Block(const ModelConfig& model) : model_(model) {}
  Result<void> plan_norm(NormSpec& norm, const LayerScope& scope, std::string_view name) const;
  Result<void> plan_norms(const LayerScope& scope);
  Result<void> read_output_scale(const LayerScope& scope);
  void run_parallel(Step& step, Mat x) const;
  /// x += residual_scale * post(part(pre(x))).
  void run_part(Step& step, Mat x, const Sublayer& part, const NormSpec& pre, const NormSpec& post) const;

  const ModelConfig& model_;
  NormSpec mixer_norm_, mixer_post_norm_, feed_forward_norm_, feed_forward_post_norm_;
  std::unique_ptr<Sublayer> mixer_, feed_forward_;
  std::optional<PerLayerInput> per_layer_;
  float output_scale_ = 1.0F;
};

}  // namespace kvasir
