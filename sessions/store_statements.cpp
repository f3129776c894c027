#include "sessions/store_statements.h"

#include <algorithm>

#include "sessions/chain_hash.h"
#include "sessions/store_rows.h"

namespace kvasir::store_rows {

Result<void> ensure_schema(Database& db) {
  const int64_t version = KVASIR_TRY(db.scalar("PRAGMA user_version"));
  const int64_t application = KVASIR_TRY(db.scalar("PRAGMA application_id"));
  if (version == 0 && application == 0) {
    auto tx = KVASIR_TRY(Transaction::begin(db));
    KVASIR_TRY(db.execute(kSchema));
    KVASIR_TRY(db.execute(("PRAGMA application_id=" + std::to_string(kApplicationId)).c_str()));
    KVASIR_TRY(db.execute(("PRAGMA user_version=" + std::to_string(kFormatVersion)).c_str()));
    KVASIR_TRY(db.execute(kAdditions));
    return tx.commit();
  }
  if (application != kApplicationId)
    return Failure{Code::kCorrupt, "meta.db is not a session store of kvasir; move it away"};
  if (version > kFormatVersion) {
    return Failure{Code::kUnsupported, "the session store was written by a newer kvasir (format " +
                                           std::to_string(version) + ", this build knows " +
                                           std::to_string(kFormatVersion) + "); nothing was changed"};
  }
  if (KVASIR_TRY(db.scalar("SELECT COUNT(*) FROM sqlite_master WHERE name = 'usage'")) > 0) return {};
  auto tx = KVASIR_TRY(Transaction::begin(db));
  KVASIR_TRY(db.execute(kAdditions));
  KVASIR_TRY(db.execute((std::string("INSERT INTO usage ") + kCountedUsage).c_str()));
  return tx.commit();
}

Result<void> insert_session(Database& db, const SessionRecord& r) {
  auto row =
      KVASIR_TRY(db.prepare("INSERT INTO sessions (id, principal, title, head, parent_id, parent_turn, overflow, "
                            "ttl_seconds, created_at_ms, updated_at_ms, "
                            "sequence, model, fingerprint) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, (SELECT "
                            "COALESCE(MAX(sequence),0)+1 FROM sessions), ?, ?)"));
  row.bind(r.id).bind(r.principal).bind(r.title);
  r.head == 0 ? row.bind_null() : row.bind(r.head);
  row.bind(r.parent_id)
      .bind(static_cast<int64_t>(r.parent_turn))
      .bind(r.overflow)
      .bind(static_cast<int64_t>(r.ttl_seconds));
  row.bind(r.created_at_ms).bind(r.updated_at_ms).bind(r.model).bind(r.fingerprint);
  return row.run();
}

Result<TurnNode> insert_node(Database& db, std::string_view principal, const Turn& t, const std::string& hash,
                             uint64_t max_bytes) {
  const std::string tokens = tokens_to_bytes(t.tokens);
  const uint64_t bytes = stored_bytes(t);
  if (bytes > max_bytes) return Failure{Code::kTooLarge, "this turn is larger than the store takes"};
  auto row = KVASIR_TRY(
      db.prepare("INSERT INTO nodes (parent, principal, number, role, content, message_json, tokens, rendered, whole, "
                 "parameters_json, created_at_ms, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"));
  t.parent == 0 ? row.bind_null() : row.bind(t.parent);
  row.bind(principal)
      .bind(static_cast<int64_t>(t.number))
      .bind(t.role)
      .bind(t.content)
      .bind(t.message_json)
      .bind_blob(tokens);
  row.bind(t.rendered).bind(int64_t{t.whole}).bind(t.parameters_json).bind(t.created_at_ms).bind_blob(hash);
  KVASIR_TRY(row.run());
  return db.last_insert_id();
}

Result<void> move_head(Database& db, std::string_view session_id, TurnNode node, std::string_view model,
                       std::string_view fingerprint) {
  auto row = KVASIR_TRY(
      db.prepare("UPDATE sessions SET head = ?, updated_at_ms = ?, sequence = (SELECT COALESCE(MAX(sequence),0)+1 "
                 "FROM sessions), model = ?, fingerprint = ? WHERE id = ?"));
  row.bind(node).bind(now_ms()).bind(model).bind(fingerprint).bind(session_id);
  return row.run();
}

Result<uint64_t> usage_of(Database& db, std::string_view principal) {
  auto row = KVASIR_TRY(db.prepare("SELECT bytes FROM usage WHERE principal = ?"));
  row.bind(principal);
  return KVASIR_TRY(row.step()) ? static_cast<uint64_t>(std::max<int64_t>(row.integer(0), 0)) : uint64_t{0};
}

Result<void> ensure_room(Database& db, std::string_view principal, uint64_t more, const SessionLimits& limits) {
  const uint64_t used = KVASIR_TRY(usage_of(db, principal));
  if (more <= limits.max_bytes_per_principal && used <= limits.max_bytes_per_principal - more) return {};
  return Failure{Code::kTooLarge, "the stored conversations take " + std::to_string(used) + " of the " +
                                      std::to_string(limits.max_bytes_per_principal) + " bytes that they may, and this needs " +
                                      std::to_string(more) +
                                      " more: delete sessions (delete_session) or raise --quota-conversation-mb"};
}

Result<std::string> salt_of(Database& db, std::string_view principal) {
  auto row = KVASIR_TRY(db.prepare("SELECT salt FROM salts WHERE principal = ?"));
  row.bind(principal);
  if (!KVASIR_TRY(row.step())) return std::string(kHashBytes, '\0');
  return row.text(0);
}
Result<std::string> ensure_salt(Database& db, std::string_view principal) {
  auto add = KVASIR_TRY(db.prepare("INSERT OR IGNORE INTO salts (principal, salt) VALUES (?, ?)"));
  add.bind(principal).bind_blob(random_salt());
  KVASIR_TRY(add.run());
  return salt_of(db, principal);
}
Result<uint32_t> number_of(Database& db, TurnNode node) {
  if (node == 0) return 0U;
  auto row = KVASIR_TRY(db.prepare("SELECT number FROM nodes WHERE id = ?"));
  row.bind(node);
  if (!KVASIR_TRY(row.step())) return Failure{Code::kCorrupt, "a turn of this session is missing from the store"};
  return static_cast<uint32_t>(row.integer(0));
}
Result<std::string> hash_of(Database& db, TurnNode node) {
  if (node == 0) return std::string();
  auto row = KVASIR_TRY(db.prepare("SELECT hash FROM nodes WHERE id = ?"));
  row.bind(node);
  if (!KVASIR_TRY(row.step())) return Failure{Code::kCorrupt, "a turn of this session is missing from the store"};
  return row.text(0);
}

Result<uint64_t> delete_unreachable(Database& db) {
  constexpr const char* kReachable =
      "WITH RECURSIVE reachable(id) AS (SELECT head FROM sessions WHERE head IS NOT NULL UNION SELECT node FROM "
      "checkpoints WHERE node > 0 UNION SELECT node FROM partials "
      "UNION SELECT n.parent FROM nodes n JOIN reachable r ON n.id = r.id WHERE n.parent IS NOT NULL) ";
  uint64_t bytes = 0;
  {
    auto sum = KVASIR_TRY(db.prepare(
        (std::string(kReachable) +
         "SELECT COALESCE(SUM(LENGTH(CAST(content AS BLOB)) + LENGTH(tokens) + LENGTH(CAST(rendered AS BLOB)) + "
         "LENGTH(CAST(message_json AS BLOB))), 0) FROM nodes WHERE id NOT IN (SELECT id FROM reachable)")
            .c_str()));
    KVASIR_TRY(sum.step());
    bytes = static_cast<uint64_t>(sum.integer(0));
  }
  KVASIR_TRY(db.execute("PRAGMA defer_foreign_keys=ON"));
  auto gone = KVASIR_TRY(
      db.prepare((std::string(kReachable) + "DELETE FROM nodes WHERE id NOT IN (SELECT id FROM reachable)").c_str()));
  KVASIR_TRY(gone.run());
  return bytes;
}

}  // namespace kvasir::store_rows
