#include "sessions/store_turns.h"

#include <algorithm>
#include <utility>

#include "sessions/chain_hash.h"
#include "sessions/store_rows.h"
#include "sessions/store_statements.h"

namespace kvasir::store_rows {
namespace {

Failure no_chain() {
  return {Code::kCorrupt, "the turns of this session do not form a chain"};
}

/// The nodes from behind `base` to `node`, oldest first.
Result<std::vector<TurnNode>> chain_between(Database& db, TurnNode base, TurnNode node, const SessionLimits& limits) {
  std::vector<TurnNode> out;
  while (node != base) {
    auto row = KVASIR_TRY(db.prepare("SELECT COALESCE(parent, 0) FROM nodes WHERE id = ?"));
    row.bind(node);
    if (out.size() > limits.max_turns_per_session || !KVASIR_TRY(row.step())) return no_chain();
    out.push_back(node);
    node = row.integer(0);
  }
  std::reverse(out.begin(), out.end());
  return out;
}

Result<void> delete_node(Database& db, TurnNode node) {
  auto gone = KVASIR_TRY(db.prepare("DELETE FROM nodes WHERE id = ?"));
  gone.bind(node);
  return gone.run();
}

/// Where an answer can be appended because its question is stored already; nothing if another one is.
Result<std::optional<TurnNode>> same_question(Database& db, std::string_view principal, const PartialRow& kept,
                                              const std::vector<Turn>& turns, const SessionLimits& limits) {
  const auto nodes = KVASIR_TRY(chain_between(db, kept.parent, kept.node, limits));
  if (nodes.size() != turns.size()) return std::optional<TurnNode>();
  const std::string salt = KVASIR_TRY(salt_of(db, principal));
  std::string hash = KVASIR_TRY(hash_of(db, kept.parent));
  TurnNode last = kept.parent;
  for (size_t i = 0; i + 1 < turns.size(); ++i) {
    hash = turn_hash(salt, hash, turns[i]);
    if (KVASIR_TRY(hash_of(db, nodes[i])) != hash) return std::optional<TurnNode>();
    last = nodes[i];
  }
  return std::optional(last);
}

}  // namespace

Result<std::vector<Turn>> read_path(Database& db, std::string_view principal, TurnNode node, const SessionLimits& limits) {
  std::vector<StoredTurn> chain;
  const std::string sql = std::string("SELECT ") + kTurnColumns + " FROM nodes WHERE id = ? AND principal = ?";
  while (node != 0) {
    auto row = KVASIR_TRY(db.prepare(sql.c_str()));
    row.bind(node).bind(principal);
    if (!KVASIR_TRY(row.step())) return Failure{Code::kCorrupt, "a turn of this session is missing from the store"};
    auto stored = read_turn(row);
    if (chain.size() > limits.max_turns_per_session ||
        (!chain.empty() && stored.turn.number + 1 != chain.back().turn.number)) {
      return no_chain();
    }
    node = stored.turn.parent;
    chain.push_back(std::move(stored));
  }
  const std::string salt = KVASIR_TRY(salt_of(db, principal));
  std::vector<Turn> out;
  std::string parent;
  for (auto stored = chain.rbegin(); stored != chain.rend(); ++stored) {
    if (turn_hash(salt, parent, stored->turn) != stored->raw_hash) {
      return Failure{Code::kCorrupt, "turn " + std::to_string(stored->turn.number) +
                                         " of this session was changed on disk; rewind before it"};
    }
    parent = std::move(stored->raw_hash);
    out.push_back(std::move(stored->turn));
  }
  return out;
}

Result<std::vector<Turn>> append_nodes(Database& db, std::string_view principal, TurnNode parent, std::vector<Turn> turns,
                                       const StoreOptions& options, const char* point) {
  const std::string salt = KVASIR_TRY(ensure_salt(db, principal));
  std::string hash = KVASIR_TRY(hash_of(db, parent));
  uint32_t number = KVASIR_TRY(number_of(db, parent));
  uint64_t bytes = 0;
  for (const auto& turn : turns) bytes += stored_bytes(turn);
  KVASIR_TRY(ensure_room(db, principal, bytes, options.limits));
  for (auto& turn : turns) {
    turn.parent = parent;
    turn.number = ++number;
    if (number > options.limits.max_turns_per_session)
      return Failure{Code::kTooLarge, "this session has too many turns; fork or start another"};
    turn.created_at_ms = now_ms();
    hash = turn_hash(salt, hash, turn);
    turn.node = KVASIR_TRY(insert_node(db, principal, turn, hash, options.limits.max_turn_bytes));
    turn.hash = to_hex(hash);
    parent = turn.node;
    if (options.reach) options.reach(point);
  }
  return turns;
}

Result<std::optional<PartialRow>> partial_row(Database& db, std::string_view session_id) {
  auto row = KVASIR_TRY(
      db.prepare("SELECT node, COALESCE(parent, 0), model, fingerprint, saved_at_ms FROM partials WHERE session_id = ?"));
  row.bind(session_id);
  if (!KVASIR_TRY(row.step())) return std::optional<PartialRow>();
  return std::optional(PartialRow{row.integer(0), row.integer(1), row.text(2), row.text(3), row.integer(4)});
}

Result<void> keep_partial(Database& db, const SessionRecord& session, const AppendTurns& a, const StoreOptions& options) {
  TurnNode parent = session.head;
  std::vector<Turn> turns = a.turns;
  std::optional<TurnNode> question;
  const auto kept = KVASIR_TRY(partial_row(db, session.id));
  if (kept && kept->parent == session.head) {
    question = KVASIR_TRY(same_question(db, a.principal, *kept, turns, options.limits));
  }
  if (question) {
    KVASIR_TRY(delete_node(db, kept->node));  // and with it the row
    parent = *question;
    turns.erase(turns.begin(), turns.end() - 1);
  } else {
    KVASIR_TRY(drop_partial(db, session.id));
  }
  const auto stored = KVASIR_TRY(append_nodes(db, a.principal, parent, std::move(turns), options, "partial.node"));
  auto row = KVASIR_TRY(db.prepare(
      "INSERT INTO partials (session_id, node, parent, model, fingerprint, saved_at_ms) VALUES (?, ?, ?, ?, ?, ?)"));
  row.bind(session.id).bind(stored.back().node);
  session.head == 0 ? row.bind_null() : row.bind(session.head);
  row.bind(a.model).bind(a.fingerprint).bind(now_ms());
  KVASIR_TRY(row.run());
  auto used = KVASIR_TRY(db.prepare("UPDATE sessions SET updated_at_ms = ? WHERE id = ?"));
  used.bind(now_ms()).bind(session.id);
  return used.run();
}

Result<void> drop_partial(Database& db, std::string_view session_id) {
  const auto kept = KVASIR_TRY(partial_row(db, session_id));
  if (!kept) return {};
  auto row = KVASIR_TRY(db.prepare("DELETE FROM partials WHERE session_id = ?"));
  row.bind(session_id);
  KVASIR_TRY(row.run());
  auto gone = KVASIR_TRY(
      db.prepare("WITH RECURSIVE chain(id) AS (SELECT ?1 UNION SELECT n.parent FROM nodes n JOIN chain c ON n.id = c.id "
                 "WHERE n.parent IS NOT NULL AND n.parent <> ?2) DELETE FROM nodes WHERE id IN (SELECT id FROM chain)"));
  gone.bind(kept->node).bind(kept->parent);
  return gone.run();
}

Result<std::vector<std::string>> check_store(Database& db, const SessionLimits& limits) {
  std::vector<std::string> findings;
  auto check = KVASIR_TRY(db.prepare("PRAGMA quick_check"));
  while (KVASIR_TRY(check.step())) {
    if (check.text(0) != "ok") findings.push_back(check.text(0));
  }
  std::vector<SessionRecord> all;
  auto rows =
      KVASIR_TRY(db.prepare((std::string("SELECT ") + kSessionColumns + " FROM sessions ORDER BY sequence").c_str()));
  while (KVASIR_TRY(rows.step())) all.push_back(read_session(rows));
  for (const auto& s : all) {
    if (auto turns = read_path(db, s.principal, s.head, limits); !turns) findings.push_back(s.id + ": " + turns.error().message);
    const auto kept = KVASIR_TRY(partial_row(db, s.id));
    if (!kept) continue;
    if (auto turns = read_path(db, s.principal, kept->node, limits); !turns) {
      findings.push_back(s.id + ", its unfinished answer: " + turns.error().message);
    }
  }
  auto counted = KVASIR_TRY(db.prepare(kCountedUsage));
  while (KVASIR_TRY(counted.step())) {
    const std::string principal = counted.text(0);
    if (KVASIR_TRY(usage_of(db, principal)) != static_cast<uint64_t>(counted.integer(1))) {
      findings.push_back("what " + principal + " has stored was counted wrong");
    }
  }
  return findings;
}

}  // namespace kvasir::store_rows
