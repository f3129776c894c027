#include "sessions/compression/summary.h"

#include <algorithm>
#include <optional>
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
constexpr size_t kMostPlaces = 10'000;           // of a word in a turn that are looked at

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

bool joins(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || static_cast<unsigned char>(c) >= 0x80U;
}

/// Whether `text` has this word, not as a part of another: 808 is not named where 8080 is.
bool names(std::string_view text, std::string_view word) {
  for (size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
    const size_t end = at + word.size();
    if ((at == 0 || !joins(text[at - 1])) && (end == text.size() || !joins(text[end]))) return true;
  }
  return false;
}

/// Where the shortest stretch of `text` that holds every word begins.
std::optional<size_t> stretch_of(std::string_view text, std::span<const std::string> words) {
  std::vector<std::pair<size_t, size_t>> places;  // where, and which word
  for (size_t word = 0; word < words.size(); ++word) {
    const size_t before = places.size();
    for (size_t at = text.find(words[word]); at != std::string_view::npos && places.size() - before < kMostPlaces;
         at = text.find(words[word], at + 1)) {
      places.emplace_back(at, word);
    }
    if (places.size() == before) return std::nullopt;
  }
  std::ranges::sort(places);
  std::vector<size_t> inside(words.size());
  size_t missing = words.size(), begin = 0, shortest = std::string_view::npos;
  std::optional<size_t> out;
  for (const auto& [at, word] : places) {
    missing -= inside[word]++ == 0 ? 1 : 0;
    for (; missing == 0; ++begin) {
      if (at - places[begin].first < shortest) {
        shortest = at - places[begin].first;
        out = places[begin].first;
      }
      missing += --inside[places[begin].second] == 0 ? 1 : 0;
    }
  }
  return out;
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
        if (names(out, anchor) || names(index, anchor)) continue;
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
    if (!is_message(turn)) continue;
    const auto at = stretch_of(lower(turn.content), wanted);
    if (at) out.push_back({turn.number, turn.role, around(turn.content, *at)});
  }
  return out;
}

}  // namespace kvasir
