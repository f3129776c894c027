// Sessions as JSON: what get_session and list_sessions show. Pure functions.
#pragma once

#include "core/engine/messages.h"
#include "mcp/tools/schema.h"
#include "sessions/session_service.h"

namespace kvasir::mcp {

/// 2026-11-21T17:35:00.123Z
std::string rfc3339(int64_t unix_ms);
Json session_json(const SessionRecord& session);
/// The finish_reason of a turn that a crash, a shutdown or a lost connection ended.
inline constexpr const char* kInterrupted = "interrupted";
Json transcript_json(const std::vector<Turn>& turns);
/// An answer that is being written, or was when its process or connection ended.
Json partial_json(const PartialTurns& partial, bool writing);
/// What the session and all of its principal's take.
Json storage_json(const SessionDetails& details);
Json checkpoints_json(const std::vector<CheckpointRecord>& checkpoints);
/// Turns that contain all of the words, newest first.
Json found_json(const std::vector<Turn>& turns, const std::string& words);
/// Tokens per message, which of them the engine has at hand, and where that ends.
Json context_map_json(const std::vector<Turn>& turns, uint64_t cached_tokens);

}  // namespace kvasir::mcp
