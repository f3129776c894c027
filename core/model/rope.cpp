#include "core/model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace kvasir {
namespace {

double frequency(double base, uint32_t dims, uint32_t i) {
  return std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(dims));
}

/// The (fractional) pair index whose wavelength turns `rotations` times within the original context.
double pair_of_rotations(double rotations, uint32_t dims, double base, double context) {
  return static_cast<double>(dims) * std::log(context / (rotations * 2.0 * std::numbers::pi)) / (2.0 * std::log(base));
}

}  // namespace

std::vector<float> rope_frequencies(double base, uint32_t dims) {
  std::vector<float> out(dims / 2);
  for (uint32_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(frequency(base, dims, i));
  return out;
}

std::vector<float> yarn_frequencies(double base, uint32_t dims, const YarnScaling& scaling) {
  double low = pair_of_rotations(scaling.beta_fast, dims, base, scaling.original_context);
  double high = pair_of_rotations(scaling.beta_slow, dims, base, scaling.original_context);
  if (scaling.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(dims) - 1.0);
  if (low == high) high += 0.001;
  std::vector<float> out(dims / 2);
  for (uint32_t i = 0; i < out.size(); ++i) {
    const double interpolated = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    const double plain = frequency(base, dims, i);
    out[i] = static_cast<float>(plain / scaling.factor * interpolated + plain * (1.0 - interpolated));
  }
  return out;
}

float yarn_magnitude(double factor) {
  return factor <= 1.0 ? 1.0F : static_cast<float>(0.1 * std::log(factor) + 1.0);
}

std::vector<float> divide_frequencies(std::vector<float> frequencies, const std::vector<float>& factors) {
  for (size_t i = 0; i < frequencies.size(); ++i) frequencies[i] /= factors[i];
  return frequencies;
}

}  // namespace kvasir
