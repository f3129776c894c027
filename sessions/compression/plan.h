// What a strategy does to a context, in numbers: which rows it is made of, how many stay, what is computed again behind
// them and scored. Pure.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/engine/row_selection.h"
#include "sessions/turn_builder.h"

namespace kvasir {

enum class Strategy : uint8_t { kSlidingWindow, kAttentionBased, kKvQuantize, kHierarchical };
/// Errors: kInvalidArgument: none of this name.
Result<Strategy> strategy_of(std::string_view name);

struct CompressionPlan {
  RowChoice choice;
  bool aged = false;
  uint32_t scored = 0;        ///< newest tokens that both contexts score; they stay as they are
  uint64_t tokens_after = 0;
};

struct CompressionAim {
  Strategy strategy = Strategy::kSlidingWindow;
  uint64_t target_tokens = 0;  ///< ignored by kKvQuantize, which removes none
  uint64_t pinned = 0;         ///< the system message
  bool focused = false;        ///< it is known what will be asked
};

/// Errors: kInvalidArgument: too little to compress or too much to stay, with the numbers.
Result<CompressionPlan> plan_compression(const CompressionAim& aim, const SessionContext& context);

}  // namespace kvasir
