// The records of the session store: sessions are named heads in a tree of immutable turns, as branches in git. Plain
// values; any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "backends/backend.h"  // TokenId

namespace kvasir {

using TurnNode = int64_t;  ///< row of an immutable turn; 0: before the first turn

/// One turn as it is stored: a message, and the token ids it added to the context. Token ids are the truth and are
/// never made again from text (decisions.md 21).
struct Turn {
  TurnNode node = 0;
  TurnNode parent = 0;
  uint32_t number = 0;  ///< depth: 1 is the first turn
  std::string role;     ///< "system", "user", "assistant", "tool"
  std::string content;
  std::string message_json;     ///< the whole message when it has more than role and content; a compression's edit
  std::vector<TokenId> tokens;  ///< appended by this turn; the whole context if `whole`
  std::string rendered;         ///< the text those tokens stand for
  bool whole = false;           ///< history was rendered again (or compressed): earlier turns' tokens do not count
  std::string parameters_json;  ///< sampling parameters, seed and finish reason of an assistant turn
  int64_t created_at_ms = 0;
  std::string hash;  ///< 64 hex digits: BLAKE2b(salt; parent hash, role, content, tokens)
};

/// What a turn counts for in a quota and when it is deleted: text and tokens.
inline uint64_t stored_bytes(const Turn& turn) {
  return turn.content.size() + turn.message_json.size() + turn.rendered.size() + turn.tokens.size() * sizeof(TokenId);
}

struct SessionRecord {
  std::string id;  ///< 128 random bits; worth nothing without its principal
  std::string principal;
  std::string title;
  TurnNode head = 0;
  std::string parent_id;  ///< forked from
  uint32_t parent_turn = 0;
  std::string overflow = "error";
  uint64_t ttl_seconds = 0;  ///< 0: never expires
  int64_t created_at_ms = 0;
  int64_t updated_at_ms = 0;
  std::string model;        ///< as last used
  std::string fingerprint;  ///< of the model whose token ids these are; empty before the first turn
};

/// An answer that was not finished, with its question: beside the session, no part of it, until it is adopted or dropped.
struct PartialTurns {
  std::vector<Turn> turns;  ///< never empty; last: what there is of the answer
  int64_t saved_at_ms = 0;
};

struct CheckpointRecord {
  std::string id;
  std::string session_id;
  std::string name;
  TurnNode node = 0;
  uint32_t turn = 0;
  int64_t created_at_ms = 0;
};

struct PrincipalRecord {
  std::string principal;
  uint64_t sessions = 0;
  uint64_t bytes = 0;  ///< of text, tokens and kept replies
};

struct StoreUsage {
  uint64_t bytes = 0;      ///< as in PrincipalRecord
  uint64_t max_bytes = 0;  ///< more is refused
};

/// Bounds of this layer (reliability.md C1). Printed by `doctor`.
struct SessionLimits {
  uint32_t max_sessions_per_principal = 10'000;
  uint32_t max_turns_per_session = 100'000;
  uint32_t max_checkpoints_per_session = 1'000;
  uint64_t max_turn_bytes = 16u << 20;
  uint64_t max_bytes_per_principal = 1u << 30;  ///< text, tokens and kept replies of all sessions
  uint32_t max_title_bytes = 256;
  uint32_t max_name_bytes = 128;
  uint32_t max_page_rows = 200;  ///< list_sessions
};

/// How a store is opened; the defaults are the real thing.
struct StoreOptions {
  SessionLimits limits;
  std::string vfs;  ///< name of a registered SQLite VFS, for tests that make a disk fail; empty: the system's files
  /// Called at every named point of the store's work (failpoints.h), for tests that end the process there.
  std::function<void(const char* point)> reach;
};

}  // namespace kvasir
