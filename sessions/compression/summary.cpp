#include "sessions/compression/summary.h"

#include <algorithm>
#include <utility>

#include "sessions/compression/probes.h"
#include "sessions/turn_builder.h"

namespace kvasir {
namespace {

constexpr uint64_t kRecentShare = 2;             // the newest turns may fill half of what stays
constexpr uint64_t kSummaryShare = 4;            // and summaries a quarter
constexpr uint32_t kShortestSummary = 48, kLongestSummary = 512;
constexpr size_t kAnchorShare = 10;              // the index takes at most a tenth of what was removed
constexpr size_t kBytesPerToken = 4;
constexpr size_t kExcerpt = 160;

bool is_message(const Turn& turn) { return turn.role != "compression"; }

uint64_t size_of(const Turn& turn) {
  // A turn that replaced the earlier ones carries all their tokens: then its text tells better.
  return turn.whole || turn.tokens.empty() ? turn.content.size() / kBytesPerToken + 1 : turn.tokens.size();
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> out;
  std::string word;
  for (const char c : lower(text)) {
    if (c != ' ' && c != '\t' && c != '\n') {
      word += c;
    } else if (!word.empty()) {
      out.push_back(std::exchange(word, {}));
    }
  }
  if (!word.empty()) out.push_back(std::move(word));
  return out;
}

bool continues(char c) { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U; }

/// Whole characters around `at`.
std::string around(const std::string& text, size_t at) {
  size_t begin = at - std::min(at, kExcerpt / 2), end = std::min(text.size(), at + kExcerpt);
  while (begin < text.size() && continues(text[begin])) ++begin;
  while (end < text.size() && continues(text[end])) ++end;
  return (begin > 0 ? "..." : "") + text.substr(begin, end - begin) + (end < text.size() ? "..." : "");
}

}  // namespace

Result<SummaryPlan> plan_summary(std::span<const Turn> path, uint64_t target_tokens, uint64_t part_tokens) {
  std::vector<const Turn*> turns;
  for (const Turn& turn : path) {
    if (is_message(turn)) turns.push_back(&turn);
  }
  SummaryPlan plan;
  size_t end = turns.size();
  while (end > 0 && turns[end - 1]->role == "assistant") --end;
  for (size_t i = end; i < turns.size(); ++i) {
    if (turns[i]->whole) return Failure{Code::kInvalidArgument, "the last answer cannot be told from what was before it: say something first"};
    plan.last_answer.insert(plan.last_answer.end(), turns[i]->tokens.begin(), turns[i]->tokens.end());
  }
  if (plan.last_answer.empty()) return Failure{Code::kInvalidArgument, "the session does not end in an answer: say something first"};
  size_t first = 0;
  while (first < end && turns[first]->role == "system") plan.before.push_back({turns[first]->role, turns[first]->content, turns[first]->message_json}), ++first;
  // Whole exchanges from the end, beginning with a user's message, while they fit.
  size_t recent = end;
  uint64_t kept = plan.last_answer.size();
  for (size_t i = end; i > first; --i) {
    kept += size_of(*turns[i - 1]);
    if (kept > target_tokens / kRecentShare && recent < end) break;
    if (turns[i - 1]->role == "user") recent = i - 1;
  }
  if (recent < first + 2) {
    return Failure{Code::kInvalidArgument, "there are no old turns to summarise: " + std::to_string(turns.size()) +
                                               " turns, of which the newest stay as they are"};
  }
  uint64_t part = 0;
  for (size_t i = first; i < recent; ++i) {
    const uint64_t tokens = size_of(*turns[i]);
    if (plan.old.empty() || part + tokens > part_tokens) {
      plan.old.emplace_back();
      part = 0;
    }
    plan.old.back().push_back({turns[i]->role, turns[i]->content, {}});
    part += tokens;
    plan.old_tokens += tokens;
  }
  for (size_t i = recent; i < end; ++i) plan.recent.push_back({turns[i]->role, turns[i]->content, turns[i]->message_json});
  const uint64_t all = target_tokens / kSummaryShare / plan.old.size();
  plan.summary_tokens = static_cast<uint32_t>(std::clamp<uint64_t>(all, kShortestSummary, kLongestSummary));
  return plan;
}

Generate summary_request(const std::vector<ChatMessage>& part, uint32_t most_tokens) {
  std::string text = "Summarise the conversation below in a few sentences. Keep names, numbers, decisions, preferences and "
                     "open questions; leave out pleasantries.\n";
  for (const ChatMessage& message : part) text += "\n" + message.role + ": " + message.content;
  Generate out;
  out.prompt.messages = {{"user", text, {}}};
  out.max_tokens = most_tokens;
  out.sampling.temperature = 0.0F;
  return out;
}

std::string summary_text(const SummaryPlan& plan, std::span<const std::string> summaries) {
  std::string out = "Summary of our conversation so far:";
  for (const std::string& summary : summaries) out += "\n" + summary;
  std::string index;
  size_t room = plan.old_tokens * kBytesPerToken / kAnchorShare;
  for (const auto& part : plan.old) {
    for (const ChatMessage& message : part) {
      for (const std::string& anchor : anchors_of(message.content)) {
        if (out.find(anchor) != std::string::npos || index.find(anchor) != std::string::npos) continue;
        if (anchor.size() + 2 > room) continue;
        room -= anchor.size() + 2;
        index += (index.empty() ? "" : ", ") + anchor;
      }
    }
  }
  return index.empty() ? out : out + std::string(kIndexBegins) + index;
}

std::vector<ChatMessage> summarised(const SummaryPlan& plan, const std::string& summary) {
  std::vector<ChatMessage> out = plan.before;
  out.push_back({"user", summary, {}});  // a pair, since many templates want the roles to take turns
  out.push_back({"assistant", "I remember.", {}});
  out.insert(out.end(), plan.recent.begin(), plan.recent.end());
  return out;
}

std::vector<FoundTurn> search_turns(std::span<const Turn> path, std::string_view words, size_t most) {
  const std::vector<std::string> wanted = words_of(words);
  std::vector<FoundTurn> out;
  for (size_t i = path.size(); i > 0 && out.size() < most && !wanted.empty(); --i) {
    const Turn& turn = path[i - 1];
    const std::string text = lower(turn.content);
    const bool all = std::ranges::all_of(wanted, [&](const std::string& word) { return text.find(word) != std::string::npos; });
    if (is_message(turn) && all) out.push_back({turn.number, turn.role, around(turn.content, text.find(wanted.front()))});
  }
  return out;
}

}  // namespace kvasir
