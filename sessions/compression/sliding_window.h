// Strategy `sliding_window`: the first tokens (which attention leans on, and a system message) and the newest ones
// stay, what lies between goes. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backends/backend.h"  // TokenId
#include "core/base/result.h"

namespace kvasir {

inline constexpr uint32_t kAttentionSinks = 4;

/// `target` tokens of `tokens`: the first `pinned` (at least the sinks, at most a quarter of the target) and the
/// newest. Errors: kInvalidArgument when there is nothing to remove or too little would stay, with the numbers.
Result<std::vector<TokenId>> keep_window(std::span<const TokenId> tokens, uint64_t target, uint64_t pinned);

}  // namespace kvasir
