#include "sessions/compression/plan.h"

#include <algorithm>
#include <string>

namespace kvasir {
namespace {

// Measured in compression.md §5 and README.md: what of the newest stays whatever the scores say.
constexpr uint64_t kRecentUnfocused = 192, kRecentFocused = 32;
constexpr uint64_t kTailShare = 8, kShortestTail = 16, kLongestTail = 128;
constexpr uint64_t kRecentWhole = 128;  // kv_quantize: the newest stay as they are
constexpr uint64_t kPinnedShare = 4, kRecentShare = 2;

Failure too_short(uint64_t tokens, const std::string& what) {
  return {Code::kInvalidArgument, "cannot compress " + std::to_string(tokens) + " tokens: " + what};
}

Result<CompressionPlan> plan_ageing(uint64_t tokens, uint64_t base) {
  const uint64_t source = (tokens - std::min(tokens, kRecentWhole)) / kPageTokens * kPageTokens;
  if (source <= base) {
    return too_short(tokens, "the newest " + std::to_string(kRecentWhole) + " stay as they are, " + std::to_string(base) +
                                 " are compressed already, and whole pages of " + std::to_string(kPageTokens) + " age");
  }
  CompressionPlan plan;
  plan.choice = {.rule = KeepRule::kAll, .source_tokens = static_cast<uint32_t>(source),
                 .kept_tokens = static_cast<uint32_t>(source)};
  plan.aged = true;
  plan.scored = static_cast<uint32_t>(std::min(kLongestTail, tokens - source - 1));
  plan.tokens_after = tokens;
  return plan;
}

}  // namespace

Result<Strategy> strategy_of(std::string_view name) {
  if (name == "sliding_window") return Strategy::kSlidingWindow;
  if (name == "attention_based") return Strategy::kAttentionBased;
  if (name == "kv_quantize") return Strategy::kKvQuantize;
  if (name == "hierarchical") return Strategy::kHierarchical;
  return Failure{Code::kInvalidArgument,
                 "strategy is one of: sliding_window, attention_based, kv_quantize, hierarchical"};
}

Result<CompressionPlan> plan_compression(const CompressionAim& aim, const SessionContext& context) {
  const uint64_t tokens = context.tokens.size();
  const uint64_t base = context.stages.empty() ? 0 : context.stages.back().edit.kept_tokens;
  if (aim.strategy == Strategy::kKvQuantize) return plan_ageing(tokens, base);
  const uint64_t tail = std::clamp(tokens / kTailShare, kShortestTail, kLongestTail);
  const uint64_t source = tokens - std::min(tokens, tail);
  const uint64_t wanted = aim.target_tokens - std::min(aim.target_tokens, tail);
  const uint64_t kept = std::max<uint64_t>((wanted + kPageTokens / 2) / kPageTokens, 1) * kPageTokens;
  if (kept >= source || source <= base) {
    return too_short(tokens, std::to_string(kept) + " (whole pages of " + std::to_string(kPageTokens) +
                                 ") and the newest " + std::to_string(tail) + " would stay" +
                                 (base > 0 ? ", " + std::to_string(base) + " are compressed already" : ""));
  }
  CompressionPlan plan;
  plan.choice.rule = aim.strategy == Strategy::kAttentionBased ? KeepRule::kAttention : KeepRule::kWindow;
  plan.choice.source_tokens = static_cast<uint32_t>(source);
  plan.choice.kept_tokens = static_cast<uint32_t>(kept);
  plan.choice.in_place = true;
  plan.choice.pinned = static_cast<uint32_t>(std::clamp<uint64_t>(aim.pinned, kAttentionSinks, kept / kPinnedShare));
  plan.choice.recent =
      static_cast<uint32_t>(std::min(aim.focused ? kRecentFocused : kRecentUnfocused, kept / kRecentShare));
  plan.scored = static_cast<uint32_t>(tail - 1);
  plan.tokens_after = kept + tail;
  return plan;
}

}  // namespace kvasir
