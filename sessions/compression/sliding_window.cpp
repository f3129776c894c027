#include "sessions/compression/sliding_window.h"

#include <algorithm>

namespace kvasir {
namespace {

constexpr uint64_t kSmallestContext = 32;
constexpr uint64_t kPinnedShare = 4;

}  // namespace

Result<std::vector<TokenId>> keep_window(std::span<const TokenId> tokens, uint64_t target, uint64_t pinned) {
  if (target < kSmallestContext || target >= tokens.size()) {
    return Failure{Code::kInvalidArgument, "cannot compress " + std::to_string(tokens.size()) + " tokens to " +
                                               std::to_string(target) + ": at least " +
                                               std::to_string(kSmallestContext) + " must stay and some must go"};
  }
  pinned = std::clamp<uint64_t>(pinned, kAttentionSinks, target / kPinnedShare);
  std::vector<TokenId> out(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(pinned));
  out.insert(out.end(), tokens.end() - static_cast<std::ptrdiff_t>(target - pinned), tokens.end());
  return out;
}

}  // namespace kvasir
