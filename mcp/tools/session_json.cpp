#include "mcp/tools/session_json.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>

#include "sessions/turn_builder.h"

namespace kvasir::mcp {

std::string rfc3339(int64_t unix_ms) {
  const auto seconds = static_cast<time_t>(unix_ms / 1000);
  tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 40> text{};
  const size_t size = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(text.data() + size, text.size() - size, ".%03dZ", static_cast<int>(unix_ms % 1000));
  return text.data();
}

Json session_json(const SessionRecord& s) {
  Json out{{"session_id", s.id},
           {"title", s.title},
           {"created_at", rfc3339(s.created_at_ms)},
           {"updated_at", rfc3339(s.updated_at_ms)},
           {"overflow", s.overflow}};
  if (s.ttl_seconds > 0) out["ttl_seconds"] = s.ttl_seconds;
  if (!s.model.empty()) out["model"] = s.model;
  if (!s.parent_id.empty()) out["parent"] = Json{{"session_id", s.parent_id}, {"turn", s.parent_turn}};
  return out;
}

Json transcript_json(const std::vector<Turn>& turns) {
  Json list = Json::array();
  for (const auto& t : turns) list.push_back(Json{{"turn", t.number}, {"role", t.role}, {"content", t.content}});
  return list;
}

Json checkpoints_json(const std::vector<CheckpointRecord>& checkpoints) {
  Json list = Json::array();
  for (const auto& c : checkpoints) {
    list.push_back(
        Json{{"checkpoint_id", c.id}, {"name", c.name}, {"turn", c.turn}, {"created_at", rfc3339(c.created_at_ms)}});
  }
  return list;
}

Json context_map_json(const std::vector<Turn>& turns, uint64_t cached_tokens) {
  size_t first = 0;  // turns before the last whole one are not in the context as they were
  for (size_t i = 0; i < turns.size(); ++i) {
    if (turns[i].whole) first = i;
  }
  Json messages = Json::array();
  Json miss;
  uint64_t at = 0;
  for (size_t i = 0; i < turns.size(); ++i) {
    const uint64_t tokens = i < first ? 0 : turns[i].tokens.size();
    const uint64_t cached = std::min(tokens, cached_tokens - std::min(cached_tokens, at));
    Json entry{{"turn", turns[i].number}, {"role", turns[i].role}, {"tokens", tokens}, {"cached_tokens", cached}};
    if (turns[i].whole) entry["replaces_earlier"] = true;
    messages.push_back(std::move(entry));
    if (miss.is_null() && cached < tokens) miss = Json{{"token", at + cached}, {"turn", turns[i].number}};
    at += tokens;
  }
  Json out{{"messages", std::move(messages)}, {"cached_tokens", std::min(at, cached_tokens)}};
  if (!miss.is_null()) {
    miss["reason"] = cached_tokens == 0
                         ? "none of it is in memory"
                         : "what is kept ends here: whole pages of 64 tokens, as far as they were computed";
    out["first_miss"] = std::move(miss);
  }
  return out;
}

}  // namespace kvasir::mcp
