// Rotary frequencies after context-extension scaling. Pure functions. Sources: RoPE arXiv:2104.09864; YaRN
// arXiv:2309.00071; LongRoPE arXiv:2402.13753; the reference is transformers' modeling_rope_utils.
#pragma once

#include <cstdint>
#include <vector>

namespace kvasir {

/// base^(-2i/dims), i < dims/2.
std::vector<float> rope_frequencies(double base, uint32_t dims);

struct YarnScaling {
  double factor = 1.0;
  double original_context = 0.0;
  double beta_fast = 32.0, beta_slow = 1.0;
  bool truncate = true;  ///< round the range of mixed dimensions outwards (gpt-oss does not)
};
std::vector<float> yarn_frequencies(double base, uint32_t dims, const YarnScaling& scaling);
/// The factor on cos and sin that YaRN's paper proposes: 0.1 ln(factor) + 1.
float yarn_magnitude(double factor);

/// Divides frequency i by factors[i] (llama3 and longrope scaling as stored in files). Sizes are equal.
std::vector<float> divide_frequencies(std::vector<float> frequencies, const std::vector<float>& factors);

}  // namespace kvasir
