#include "mcp/tools/session_json.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>

#include "sessions/compression/summary.h"
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

namespace {

bool was_interrupted(const Turn& turn) {
  const Json parameters = Json::parse(turn.parameters_json, nullptr, false);
  return parameters.is_object() && parameters.value("finish_reason", Json()) == kInterrupted;
}

}  // namespace

Json transcript_json(const std::vector<Turn>& turns) {
  Json list = Json::array();
  for (const auto& t : turns) {
    Json entry{{"turn", t.number}, {"role", t.role}, {"content", t.content}};
    if (was_interrupted(t)) entry[kInterrupted] = true;
    list.push_back(std::move(entry));
  }
  return list;
}

Json partial_json(const PartialTurns& partial, bool writing) {
  const Turn& answer = partial.turns.back();
  Json out{{"state", writing ? "running" : kInterrupted},
           {"turn", answer.number},
           {"content", answer.content},
           {"tokens", answer.tokens.size()},
           {"saved_at", rfc3339(partial.saved_at_ms)}};
  if (partial.turns.size() > 1) out["prompt"] = partial.turns[partial.turns.size() - 2].content;
  return out;
}

Json storage_json(const SessionDetails& details) {
  uint64_t bytes = 0;
  for (const Turn& turn : details.turns) bytes += stored_bytes(turn);
  return Json{{"session_bytes", bytes},
              {"conversation_bytes", details.usage.bytes},
              {"conversation_max_bytes", details.usage.max_bytes},
              {"kv_bytes", details.kv_bytes}};
}

Json checkpoints_json(const std::vector<CheckpointRecord>& checkpoints) {
  Json list = Json::array();
  for (const auto& c : checkpoints) {
    list.push_back(
        Json{{"checkpoint_id", c.id}, {"name", c.name}, {"turn", c.turn}, {"created_at", rfc3339(c.created_at_ms)}});
  }
  return list;
}

Json found_json(const std::vector<Turn>& turns, const std::string& words) {
  constexpr size_t kMost = 50;
  Json list = Json::array();
  for (const FoundTurn& turn : search_turns(turns, words, kMost)) {
    list.push_back(Json{{"turn", turn.turn}, {"role", turn.role}, {"excerpt", turn.excerpt}});
  }
  return list;
}

namespace {

/// Tokens of the context that a turn brought, in the order of the context.
struct Piece {
  size_t turn = 0;
  uint64_t tokens = 0;
};

std::vector<Piece> pieces_of(const std::vector<Turn>& turns) {
  std::vector<Piece> out;
  for (size_t i = 0; i < turns.size(); ++i) {
    const auto edit = turns[i].role == "compression" && !turns[i].message_json.empty()
                          ? edit_from_text(turns[i].message_json)
                          : Result<ContextEdit>(Failure{Code::kNotFound, "no edit"});
    if (turns[i].whole) out.clear();
    if (!edit) {
      out.push_back({i, turns[i].tokens.size()});
      continue;
    }
    uint64_t left = edit->source_tokens;  // these are now the compression's, as many as it kept
    for (Piece& piece : out) {
      const uint64_t taken = std::min(left, piece.tokens);
      piece.tokens -= taken;
      left -= taken;
    }
    out.insert(out.begin(), {i, edit->kept_tokens});
  }
  return out;
}

}  // namespace

Json context_map_json(const std::vector<Turn>& turns, uint64_t cached_tokens) {
  struct Share {
    uint64_t tokens = 0, cached = 0;
  };
  std::vector<Share> shares(turns.size());
  Json miss;
  uint64_t at = 0;
  for (const Piece& piece : pieces_of(turns)) {
    const uint64_t cached = std::min(piece.tokens, cached_tokens - std::min(cached_tokens, at));
    shares[piece.turn].tokens += piece.tokens;
    shares[piece.turn].cached += cached;
    if (miss.is_null() && cached < piece.tokens) miss = Json{{"token", at + cached}, {"turn", turns[piece.turn].number}};
    at += piece.tokens;
  }
  Json messages = Json::array();
  for (size_t i = 0; i < turns.size(); ++i) {
    Json entry{{"turn", turns[i].number}, {"role", turns[i].role}, {"tokens", shares[i].tokens},
               {"cached_tokens", shares[i].cached}};
    if (turns[i].whole || turns[i].role == "compression") entry["replaces_earlier"] = true;
    messages.push_back(std::move(entry));
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
