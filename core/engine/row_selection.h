// Which rows of a context stay when it is compressed (compression.md §4.1, §5): by how much the asked rows looked at them,
// by age, or by chance (what every strategy has to beat). Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/engine/context_edit.h"

namespace kvasir {

enum class KeepRule : uint8_t { kAttention, kWindow, kRandom, kAll };

struct RowChoice {
  KeepRule rule = KeepRule::kWindow;
  uint32_t source_tokens = 0;
  uint32_t kept_tokens = 0;  ///< whole pages
  uint32_t pinned = 0;       ///< first rows that always stay
  uint32_t recent = 0;       ///< newest rows that always stay
  uint64_t seed = 0;         ///< kRandom
  bool in_place = false;     ///< rows keep their positions as long as the model has enough of them left
};

inline constexpr uint32_t kAttentionSinks = 4;  ///< first tokens that attention leans on whatever they say

/// `masses`: per KV layer [heads][source_tokens], for kAttention (AttentionMass). Errors: kInvalidArgument.
Result<ContextEdit> choose_rows(const RowChoice& choice, std::span<const std::vector<float>> masses);

}  // namespace kvasir
