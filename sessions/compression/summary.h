// Strategy `hierarchical`: old turns become one summary by the model itself and an index of the exact things in them; the
// newest turns and the system message stay word for word. The originals stay in the store. Pure: what to ask the model,
// and what its answers become.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/engine/messages.h"
#include "sessions/session_types.h"

namespace kvasir {

struct SummaryPlan {
  std::vector<ChatMessage> before;  ///< stays in front: the system message, if there is one
  std::vector<std::vector<ChatMessage>> old;  ///< what is summarised, in parts that fit the model
  std::vector<ChatMessage> recent;  ///< stays, without the last answer
  std::vector<TokenId> last_answer; ///< its tokens, which end the context
  uint32_t summary_tokens = 0;      ///< of each part at most
  uint64_t old_tokens = 0;
};

/// `part_tokens`: what may be summarised at once. Errors: kInvalidArgument: too few turns, or no answer at the end.
Result<SummaryPlan> plan_summary(std::span<const Turn> path, uint64_t target_tokens, uint64_t part_tokens);
/// Asks for the summary of a part: greedy, so that it can be made again.
Generate summary_request(const std::vector<ChatMessage>& part, uint32_t most_tokens);
inline constexpr std::string_view kIndexBegins = "\nExact things that were mentioned: ";
/// What stands in the place of the old turns: the summaries, and what they do not name of the exact things (at most a
/// tenth of what was removed).
std::string summary_text(const SummaryPlan& plan, std::span<const std::string> summaries);
/// The conversation with the summary in it, up to the last answer.
std::vector<ChatMessage> summarised(const SummaryPlan& plan, const std::string& summary);

/// Turns that contain every word of `words` (whatever its case), newest first, with the text where they stand closest.
struct FoundTurn {
  uint32_t turn = 0;
  std::string role, excerpt;
};
std::vector<FoundTurn> search_turns(std::span<const Turn> path, std::string_view words, size_t most);

}  // namespace kvasir
