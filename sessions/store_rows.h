// The tables of CHECKPOINT_FORMAT.md as SQL, and their rows as records. Included by sqlite_session_store.cpp only.
#pragma once

#include <chrono>
#include <string>

#include "sessions/chain_hash.h"
#include "sessions/database.h"
#include "sessions/session_types.h"

namespace kvasir::store_rows {

inline constexpr int64_t kApplicationId = 0x4B565331;
inline constexpr int64_t kFormatVersion = 1;
inline constexpr size_t kShortestHeadPrefix = 8;

inline constexpr const char* kSchema = R"(
CREATE TABLE salts (principal TEXT PRIMARY KEY, salt BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE nodes (id INTEGER PRIMARY KEY AUTOINCREMENT, parent INTEGER REFERENCES nodes(id), principal TEXT NOT NULL,
  number INTEGER NOT NULL CHECK (number >= 1), role TEXT NOT NULL, content TEXT NOT NULL, message_json TEXT NOT NULL,
  tokens BLOB NOT NULL, rendered TEXT NOT NULL, whole INTEGER NOT NULL, parameters_json TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL, hash BLOB NOT NULL);
CREATE INDEX nodes_parent ON nodes(parent);
CREATE TABLE sessions (id TEXT PRIMARY KEY, principal TEXT NOT NULL, title TEXT NOT NULL, head INTEGER REFERENCES nodes(id),
  parent_id TEXT NOT NULL, parent_turn INTEGER NOT NULL, overflow TEXT NOT NULL, ttl_seconds INTEGER NOT NULL,
  created_at_ms INTEGER NOT NULL, updated_at_ms INTEGER NOT NULL, sequence INTEGER NOT NULL, model TEXT NOT NULL,
  fingerprint TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX sessions_principal ON sessions(principal, sequence);
CREATE TABLE checkpoints (id TEXT PRIMARY KEY, session_id TEXT NOT NULL REFERENCES sessions(id) ON DELETE CASCADE,
  name TEXT NOT NULL, node INTEGER NOT NULL, created_at_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE replies (session_id TEXT NOT NULL REFERENCES sessions(id) ON DELETE CASCADE, key TEXT NOT NULL,
  reply_json TEXT NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (session_id, key)) WITHOUT ROWID;
)";

/// What later builds of version 1 added. Earlier ones leave it alone: what they do, they do right without knowing it.
inline constexpr const char* kAdditions = R"(
CREATE TABLE IF NOT EXISTS partials (session_id TEXT PRIMARY KEY REFERENCES sessions(id) ON DELETE CASCADE,
  node INTEGER NOT NULL REFERENCES nodes(id) ON DELETE CASCADE, parent INTEGER, model TEXT NOT NULL,
  fingerprint TEXT NOT NULL, saved_at_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS usage (principal TEXT PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS nodes_added AFTER INSERT ON nodes BEGIN
  INSERT OR IGNORE INTO usage (principal, bytes) VALUES (NEW.principal, 0);
  UPDATE usage SET bytes = bytes + LENGTH(CAST(NEW.content AS BLOB)) + LENGTH(NEW.tokens) +
    LENGTH(CAST(NEW.rendered AS BLOB)) + LENGTH(CAST(NEW.message_json AS BLOB)) WHERE principal = NEW.principal;
END;
CREATE TRIGGER IF NOT EXISTS nodes_gone AFTER DELETE ON nodes BEGIN
  UPDATE usage SET bytes = bytes - LENGTH(CAST(OLD.content AS BLOB)) - LENGTH(OLD.tokens) -
    LENGTH(CAST(OLD.rendered AS BLOB)) - LENGTH(CAST(OLD.message_json AS BLOB)) WHERE principal = OLD.principal;
END;
CREATE TRIGGER IF NOT EXISTS replies_added AFTER INSERT ON replies BEGIN
  UPDATE usage SET bytes = bytes + LENGTH(CAST(NEW.reply_json AS BLOB))
    WHERE principal = (SELECT principal FROM sessions WHERE id = NEW.session_id);
END;
CREATE TRIGGER IF NOT EXISTS replies_gone BEFORE DELETE ON sessions BEGIN
  UPDATE usage SET bytes = bytes - (SELECT COALESCE(SUM(LENGTH(CAST(reply_json AS BLOB))), 0) FROM replies
    WHERE session_id = OLD.id) WHERE principal = OLD.principal;
END;
)";

/// What `usage` must say.
inline constexpr const char* kCountedUsage = R"(
SELECT principal, SUM(bytes) FROM (
  SELECT principal, LENGTH(CAST(content AS BLOB)) + LENGTH(tokens) + LENGTH(CAST(rendered AS BLOB)) +
    LENGTH(CAST(message_json AS BLOB)) AS bytes FROM nodes
  UNION ALL SELECT s.principal, LENGTH(CAST(r.reply_json AS BLOB)) FROM replies r JOIN sessions s ON s.id = r.session_id)
GROUP BY principal)";

inline constexpr const char* kSessionColumns =
    "id, principal, title, COALESCE(head, 0), parent_id, parent_turn, overflow, ttl_seconds, created_at_ms, "
    "updated_at_ms, model, "
    "fingerprint";
inline constexpr const char* kTurnColumns =
    "id, COALESCE(parent, 0), number, role, content, message_json, tokens, rendered, whole, parameters_json, "
    "created_at_ms, hash";

inline int64_t now_ms() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

inline SessionRecord read_session(const Statement& row) {
  SessionRecord r;
  r.id = row.text(0);
  r.principal = row.text(1);
  r.title = row.text(2);
  r.head = row.integer(3);
  r.parent_id = row.text(4);
  r.parent_turn = static_cast<uint32_t>(row.integer(5));
  r.overflow = row.text(6);
  r.ttl_seconds = static_cast<uint64_t>(row.integer(7));
  r.created_at_ms = row.integer(8);
  r.updated_at_ms = row.integer(9);
  r.model = row.text(10);
  r.fingerprint = row.text(11);
  return r;
}

struct StoredTurn {
  Turn turn;
  std::string raw_hash;
};

inline StoredTurn read_turn(const Statement& row) {
  StoredTurn out;
  Turn& t = out.turn;
  t.node = row.integer(0);
  t.parent = row.integer(1);
  t.number = static_cast<uint32_t>(row.integer(2));
  t.role = row.text(3);
  t.content = row.text(4);
  t.message_json = row.text(5);
  t.tokens = tokens_from_bytes(row.text(6));
  t.rendered = row.text(7);
  t.whole = row.integer(8) != 0;
  t.parameters_json = row.text(9);
  t.created_at_ms = row.integer(10);
  out.raw_hash = row.text(11);
  t.hash = to_hex(out.raw_hash);
  return out;
}

}  // namespace kvasir::store_rows
