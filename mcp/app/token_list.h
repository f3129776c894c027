// Token ids as people and scripts write them. Pure.
#pragma once

#include <string_view>
#include <vector>

#include "backends/backend.h"
#include "core/base/result.h"

namespace kvasir::app {

/// Ids between spaces, commas, brackets or line ends: "1 2 3", "[1, 2, 3]". Errors: kInvalidArgument, kTooLarge.
Result<std::vector<TokenId>> parse_token_list(std::string_view text);

}  // namespace kvasir::app
