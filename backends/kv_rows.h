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
inline constexpr uint32_t kAgedSteps = 15, kFineSteps = 31;  ///< of a group; the second with a fifth bit
inline constexpr uint32_t kAgedInsets = 4;   ///< places tried at either end of a group's range
inline constexpr uint16_t kAgedFine = 0x8000;  ///< in the scales of a channel of keys that has a fifth bit

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

/// One group at 4 bits, or 5.
struct AgedGroup {
  uint16_t scale = 0, least = 0;  ///< f16; the scale without kAgedFine
};

/// `value` in steps above `from`, to the nearest of 0 to `steps`. Adding 1.5 * 2^23 rounds as nearbyint() does.
inline float aged_steps(float value, float from, float inverse, float steps) noexcept {
  constexpr float kRound = 12582912.0F;
  return (std::clamp((value - from) * inverse, 0.0F, steps) + kRound) - kRound;
}

/// The sum of squared errors of a group, in the order in which a warp of 32 adds: every backend chooses the same.
inline float aged_error(std::span<const float> values, AgedGroup group, float steps) noexcept {
  const float scale = half_to_float(group.scale), from = half_to_float(group.least);
  const float inverse = scale > 0.0F ? 1.0F / scale : 0.0F;
  float squares[kAgedGroup] = {};
  for (size_t i = 0; i < values.size(); ++i) {
    const float error = std::fma(scale, aged_steps(values[i], from, inverse, steps), from) - values[i];
    squares[i] = error * error;
  }
  for (size_t half = kAgedGroup / 2; half > 0; half /= 2) {
    for (size_t i = 0; i < half; ++i) squares[i] += squares[i + half];
  }
  return squares[0];
}

/// The scale of a range that begins `low` and ends `high` quarters of a step inside the values: outer ones round to its
/// ends, and the others lie closer.
inline AgedGroup aged_inside(float least, float step, uint32_t low, uint32_t high, float steps) noexcept {
  return {.scale = float_to_half(step * (1.0F - static_cast<float>(low + high) / (4.0F * steps))),
          .least = float_to_half(least + step * (0.25F * static_cast<float>(low)))};
}

/// Quantises `values` (at most 32) into q[i], 0 to `steps`, with the scale of least squared error among those tried: a
/// sixth less than from the least value to the most.
inline AgedGroup age(std::span<const float> values, uint8_t* q, uint32_t most_steps = kAgedSteps) noexcept {
  constexpr float kLargestHalf = 65504.0F;
  const auto steps = static_cast<float>(most_steps);
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  const float least = std::clamp(*low, -kLargestHalf, kLargestHalf);
  const float step = std::clamp(*high, -kLargestHalf, kLargestHalf) / steps - least / steps;
  AgedGroup group = aged_inside(least, step, 0, 0, steps);
  float smallest = aged_error(values, group, steps);
  for (uint32_t i = 1; i < kAgedInsets * kAgedInsets; ++i) {
    const AgedGroup other = aged_inside(least, step, i / kAgedInsets, i % kAgedInsets, steps);
    const float error = aged_error(values, other, steps);
    if (error >= smallest) continue;
    smallest = error;
    group = other;
  }
  const float scale = half_to_float(group.scale), from = half_to_float(group.least);
  const float inverse = scale > 0.0F ? 1.0F / scale : 0.0F;
  for (size_t i = 0; i < values.size(); ++i) q[i] = static_cast<uint8_t>(aged_steps(values[i], from, inverse, steps));
  return group;
}

inline float aged_value(AgedGroup group, uint32_t q) noexcept {
  return std::fma(half_to_float(group.scale), static_cast<float>(q), half_to_float(group.least));
}

/// Which channels of a page's keys (`keys`: [64][k_dim], `stride` apart) have a fifth bit: of d and k_dim - 1 - d that whose
/// values lie farther apart. Rotary keys turn fast at one end of the channels and slowly at the other, where 4 bits are
/// enough. Without values (MLA) a page has no room for it.
inline std::vector<bool> fine_channels(const float* keys, size_t stride, uint32_t k_dim, uint32_t v_dim) {
  std::vector<float> apart(k_dim);
  for (uint32_t d = 0; d < k_dim; ++d) {
    for (uint32_t half = 0; half < 2; ++half) {
      float low = keys[half * kAgedGroup * stride + d], high = low;
      for (uint32_t i = 1; i < kAgedGroup; ++i) {
        low = std::min(low, keys[(half * kAgedGroup + i) * stride + d]);
        high = std::max(high, keys[(half * kAgedGroup + i) * stride + d]);
      }
      apart[d] += high - low;
    }
  }
  std::vector<bool> fine(k_dim);
  for (uint32_t d = 0; v_dim > 0 && d < k_dim; ++d) {
    const uint32_t other = k_dim - 1 - d;
    fine[d] = d <= other ? apart[d] >= apart[other] : apart[d] > apart[other];
  }
  return fine;
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
