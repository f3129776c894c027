// What KvPool::gather does to one row or one group of values, the same on every backend that does it on the host:
// turning a key to another position, and ageing (backend.h). Pure; any thread.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "backends/backend.h"
#include "backends/half.h"

namespace kvasir {

inline constexpr uint32_t kAgedGroup = 32;  ///< tokens (keys) or values of one token (values) with one scale

/// Cosines and sines that turn a key by `turn` positions; kept between the heads of a row.
struct KeyTurn {
  std::vector<float> cos, sin;

  void set(const RopeSpec& rope, int32_t turn) {
    cos.resize(rope.dims / 2);
    sin.resize(rope.dims / 2);
    for (uint32_t i = 0; i < rope.dims / 2; ++i) {
      const double angle = static_cast<double>(turn) * static_cast<double>(rope.inverse_frequency[i]);
      cos[i] = static_cast<float>(std::cos(angle));
      sin[i] = static_cast<float>(std::sin(angle));
    }
  }
  void apply(const RopeSpec& rope, float* key) const noexcept {
    const uint32_t pairs = rope.dims / 2;
    const uint32_t step = rope.kind == RopeKind::kInterleaved ? 2 : 1;
    const uint32_t partner = rope.kind == RopeKind::kInterleaved ? 1 : pairs;
    for (uint32_t i = 0; i < pairs; ++i) {
      float* pair = key + rope.offset + i * step;
      const float a = pair[0], b = pair[partner];
      pair[0] = a * cos[i] - b * sin[i];
      pair[partner] = a * sin[i] + b * cos[i];
    }
  }
};

inline bool turns_fit(const RopeSpec& rope, uint32_t k_dim) noexcept {
  return rope.kind == RopeKind::kNone ||
         (rope.dims % 2 == 0 && uint64_t{rope.offset} + rope.dims <= k_dim && rope.inverse_frequency.size() == rope.dims / 2);
}

/// One group at 4 bits.
struct AgedGroup {
  uint16_t scale = 0, least = 0;  ///< f16
};

/// Quantises `values` (at most 32) into q[i], 0 to 15.
inline AgedGroup age(std::span<const float> values, uint8_t* q) noexcept {
  constexpr float kLargestHalf = 65504.0F;
  constexpr float kSteps = 15.0F;
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  const float least = std::clamp(*low, -kLargestHalf, kLargestHalf);
  const float most = std::clamp(*high, -kLargestHalf, kLargestHalf);
  AgedGroup group{.scale = float_to_half(most / kSteps - least / kSteps), .least = float_to_half(least)};
  const float scale = half_to_float(group.scale), from = half_to_float(group.least);
  const float inverse = scale > 0.0F ? 1.0F / scale : 0.0F;
  for (size_t i = 0; i < values.size(); ++i) {
    q[i] = static_cast<uint8_t>(std::clamp(std::nearbyint((values[i] - from) * inverse), 0.0F, kSteps));
  }
  return group;
}

inline float aged_value(AgedGroup group, uint32_t q) noexcept {
  return std::fma(half_to_float(group.scale), static_cast<float>(q), half_to_float(group.least));
}

/// Whether every slot, page and size that `what` names exists. `pages`: of the layer's group in the pool.
inline bool gather_fits(const KvGather& what, const KvPoolSpec& spec, uint32_t aged_per_page) {
  if (what.kv_layer >= spec.layers.size()) return false;
  const KvLayerSpec& layer = spec.layers[what.kv_layer];
  const uint32_t pages = spec.group_pages[layer.group];
  const auto there = [&](PageId id) {
    return pool_page(id) < pages && (!is_aged(id) || (aged_per_page >= 2 && aged_part(id) < aged_per_page));
  };
  if (what.rows.size() != what.to.size() * kPageTokens || !std::ranges::all_of(what.to, there)) return false;
  if (!std::ranges::all_of(what.rows, [&](uint32_t row) {
        return row / kPageTokens < what.from.size() && there(what.from[row / kPageTokens]);
      })) {
    return false;
  }
  return what.rope == nullptr || (what.turns.size() == what.rows.size() && turns_fit(*what.rope, layer.k_dim));
}

}  // namespace kvasir
