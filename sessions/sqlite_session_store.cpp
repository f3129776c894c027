// SessionStore on SQLite, as CHECKPOINT_FORMAT.md lays it out.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>

#include "sessions/chain_hash.h"
#include "sessions/database.h"
#include "sessions/folder_lock.h"
#include "sessions/session_store.h"
#include "sessions/store_rows.h"
#include "sessions/store_statements.h"
#include "sessions/store_turns.h"

namespace kvasir {
using namespace store_rows;  // the tables are this file's other half
namespace {

/// Where a page of list() begins.
Result<int64_t> sequence_of(std::string_view cursor) {
  int64_t before = INT64_MAX;
  const auto [end, error] = std::from_chars(cursor.data(), cursor.data() + cursor.size(), before);
  if (cursor.empty() || (error == std::errc() && end == cursor.data() + cursor.size() && before >= 0)) return before;
  return Failure{Code::kInvalidArgument, "cursor: not one that list_sessions gave; leave it out to start again"};
}

class SqliteSessionStore final : public SessionStore {
 public:
  SqliteSessionStore(std::unique_ptr<Database> db, std::optional<FolderLock> lock, const StoreOptions& options)
      : lock_(std::move(lock)), db_(std::move(db)), options_(options) {}

  Result<SessionRecord> create(SessionRecord r) override {
    KVASIR_TRY(ensure_usable());
    if (r.title.size() > options_.limits.max_title_bytes) {
      return Failure{Code::kTooLarge, "title is longer than " + std::to_string(options_.limits.max_title_bytes) + " bytes"};
    }
    reach("create.begin");
    auto tx = KVASIR_TRY(begin());
    const int64_t count =
        KVASIR_TRY(count_where("SELECT COUNT(*) FROM sessions WHERE principal = ?", std::string_view(r.principal)));
    if (count >= options_.limits.max_sessions_per_principal) {
      return Failure{Code::kTooLarge, "there are already " + std::to_string(count) + " sessions; delete some first"};
    }
    r.id = random_handle("s_");
    r.created_at_ms = r.updated_at_ms = now_ms();
    KVASIR_TRY(insert_session(*db_, r));
    reach("create.inserted");
    KVASIR_TRY(commit(tx));
    reach("create.committed");
    return r;
  }

  Result<SessionRecord> get(std::string_view principal, std::string_view id) override {
    auto row =
        KVASIR_TRY(db_->prepare((std::string("SELECT ") + kSessionColumns + " FROM sessions WHERE id = ?").c_str()));
    row.bind(id);
    if (KVASIR_TRY(row.step())) {
      auto record = read_session(row);
      const bool expired =
          record.ttl_seconds != 0 && record.updated_at_ms + static_cast<int64_t>(record.ttl_seconds) * 1000 < now_ms();
      if (record.principal == principal && !expired) return record;
    }
    return Failure{Code::kNotFound,
                   "no such session (it may have expired or been deleted); list_sessions shows what there is"};
  }

  Result<SessionPage> list(std::string_view principal, uint32_t limit, std::string_view cursor) override {
    limit = std::clamp<uint32_t>(limit, 1, options_.limits.max_page_rows);
    const int64_t before = KVASIR_TRY(sequence_of(cursor));
    auto rows = KVASIR_TRY(
        db_->prepare((std::string("SELECT ") + kSessionColumns +
                      ", sequence FROM sessions WHERE principal = ? AND sequence < ? ORDER BY sequence DESC LIMIT ?")
                         .c_str()));
    rows.bind(principal).bind(before).bind(static_cast<int64_t>(limit) + 1);
    SessionPage page;
    int64_t last = 0;
    while (KVASIR_TRY(rows.step())) {
      if (page.sessions.size() == limit) {
        page.next_cursor = std::to_string(last);
        break;
      }
      page.sessions.push_back(read_session(rows));
      last = rows.integer(12);
    }
    return page;
  }

  Result<std::vector<Turn>> path(std::string_view principal, TurnNode node) override {
    return read_path(*db_, principal, node, options_.limits);
  }

  Result<std::vector<Turn>> append(const AppendTurns& a) override {
    KVASIR_TRY(ensure_usable());
    if (a.turns.empty()) return Failure{Code::kInvalidArgument, "there are no turns to append"};
    reach("append.begin");
    auto tx = KVASIR_TRY(begin());
    const auto session = KVASIR_TRY(get(a.principal, a.session_id));
    const std::string head_hash = KVASIR_TRY(hash_of(*db_, session.head));
    KVASIR_TRY(check_head(a, session, head_hash));
    reach("append.checked");
    KVASIR_TRY(store_rows::drop_partial(*db_, session.id));  // the answer is done
    reach("append.dropped");
    auto stored = KVASIR_TRY(append_nodes(*db_, a.principal, session.head, a.turns, options_, "append.node"));
    reach("append.nodes");
    KVASIR_TRY(move_head(*db_, a.session_id, stored.back().node, a.model, a.fingerprint));
    reach("append.head");
    if (!a.idempotency_key.empty()) {
      KVASIR_TRY(ensure_room(*db_, a.principal, a.reply_json.size(), options_.limits));
      auto reply =
          KVASIR_TRY(db_->prepare("INSERT INTO replies (session_id, key, reply_json, hash) VALUES (?, ?, ?, ?)"));
      reply.bind(a.session_id).bind(a.idempotency_key).bind(a.reply_json);
      reply.bind_blob(from_hex(stored.back().hash));
      KVASIR_TRY(reply.run());
      reach("append.reply");
    }
    KVASIR_TRY(commit(tx));
    reach("append.committed");
    return stored;
  }

  Result<void> save_partial(const AppendTurns& a) override {
    KVASIR_TRY(ensure_usable());
    reach("partial.begin");
    auto tx = KVASIR_TRY(begin());
    const auto session = KVASIR_TRY(get(a.principal, a.session_id));
    if (a.parent != session.head || a.turns.empty()) return moved_on();
    KVASIR_TRY(keep_partial(*db_, session, a, options_));
    reach("partial.kept");
    KVASIR_TRY(commit(tx));
    reach("partial.committed");
    return {};
  }

  Result<std::optional<PartialTurns>> partial(std::string_view principal, std::string_view id) override {
    const auto session = KVASIR_TRY(get(principal, id));
    const auto kept = KVASIR_TRY(partial_row(*db_, id));
    if (!kept || kept->parent != session.head) return std::optional<PartialTurns>();
    PartialTurns out{{}, kept->saved_at_ms};
    for (auto& turn : KVASIR_TRY(path(principal, kept->node))) {
      if (turn.parent == kept->parent || !out.turns.empty()) out.turns.push_back(std::move(turn));
    }
    if (out.turns.empty()) return Failure{Code::kCorrupt, "an answer that was not finished does not follow its session"};
    return std::optional(std::move(out));
  }

  Result<void> adopt_partial(std::string_view principal, std::string_view id) override {
    KVASIR_TRY(ensure_usable());
    reach("adopt.begin");
    auto tx = KVASIR_TRY(begin());
    if (!KVASIR_TRY(partial(principal, id))) return Failure{Code::kNotFound, "there is no unfinished answer"};
    const auto kept = KVASIR_TRY(partial_row(*db_, id));
    KVASIR_TRY(delete_where("DELETE FROM partials WHERE session_id = ?", id));
    KVASIR_TRY(move_head(*db_, id, kept->node, kept->model, kept->fingerprint));
    reach("adopt.head");
    KVASIR_TRY(commit(tx));
    reach("adopt.committed");
    return {};
  }

  Result<void> drop_partial(std::string_view principal, std::string_view id) override {
    KVASIR_TRY(ensure_usable());
    auto tx = KVASIR_TRY(begin());
    KVASIR_TRY(get(principal, id));
    KVASIR_TRY(store_rows::drop_partial(*db_, id));
    return commit(tx);
  }

  Result<std::optional<StoredReply>> replayed(std::string_view principal, std::string_view id,
                                              std::string_view key) override {
    KVASIR_TRY(get(principal, id));
    auto row = KVASIR_TRY(db_->prepare("SELECT reply_json, hash FROM replies WHERE session_id = ? AND key = ?"));
    row.bind(id).bind(key);
    if (!KVASIR_TRY(row.step())) return std::optional<StoredReply>();
    return std::optional<StoredReply>(StoredReply{row.text(0), to_hex(row.text(1))});
  }

  Result<SessionRecord> fork(std::string_view principal, std::string_view from, TurnNode node,
                             std::string_view title) override {
    const auto parent = KVASIR_TRY(get(principal, from));
    SessionRecord r = parent;
    r.title = title.empty() ? parent.title : std::string(title);
    r.head = node;
    r.parent_id = parent.id;
    r.parent_turn = KVASIR_TRY(number_of(*db_, node));
    return create(std::move(r));
  }

  Result<SessionRecord> set_head(std::string_view principal, std::string_view id, TurnNode node) override {
    KVASIR_TRY(ensure_usable());
    reach("head.begin");
    auto tx = KVASIR_TRY(begin());
    auto record = KVASIR_TRY(get(principal, id));
    if (record.head != node) KVASIR_TRY(store_rows::drop_partial(*db_, id));  // it belongs to the present head
    auto update = KVASIR_TRY(db_->prepare("UPDATE sessions SET head = ?, updated_at_ms = ? WHERE id = ?"));
    node == 0 ? update.bind_null() : update.bind(node);
    update.bind(now_ms()).bind(id);
    KVASIR_TRY(update.run());
    reach("head.updated");
    KVASIR_TRY(commit(tx));
    reach("head.committed");
    record.head = node;
    return record;
  }

  Result<CheckpointRecord> checkpoint(std::string_view principal, std::string_view id, std::string_view name) override {
    KVASIR_TRY(ensure_usable());
    if (name.size() > options_.limits.max_name_bytes) {
      return Failure{Code::kTooLarge, "name is longer than " + std::to_string(options_.limits.max_name_bytes) + " bytes"};
    }
    reach("checkpoint.begin");
    auto tx = KVASIR_TRY(begin());
    const auto session = KVASIR_TRY(get(principal, id));
    const int64_t count = KVASIR_TRY(count_where("SELECT COUNT(*) FROM checkpoints WHERE session_id = ?", id));
    if (count >= options_.limits.max_checkpoints_per_session)
      return Failure{Code::kTooLarge, "this session has too many checkpoints: fork it and go on with the fork"};
    CheckpointRecord c{random_handle("c_"),
                       session.id,
                       std::string(name),
                       session.head,
                       KVASIR_TRY(number_of(*db_, session.head)),
                       now_ms()};
    auto row = KVASIR_TRY(
        db_->prepare("INSERT INTO checkpoints (id, session_id, name, node, created_at_ms) VALUES (?, ?, ?, ?, ?)"));
    row.bind(c.id).bind(c.session_id).bind(c.name).bind(c.node).bind(c.created_at_ms);
    KVASIR_TRY(row.run());
    reach("checkpoint.inserted");
    KVASIR_TRY(commit(tx));
    reach("checkpoint.committed");
    return c;
  }

  Result<std::vector<CheckpointRecord>> checkpoints(std::string_view principal, std::string_view id) override {
    KVASIR_TRY(get(principal, id));
    auto row = KVASIR_TRY(db_->prepare(
        "SELECT c.id, c.session_id, c.name, c.node, COALESCE(n.number, 0), c.created_at_ms FROM checkpoints c "
        "LEFT JOIN nodes n ON n.id = c.node WHERE c.session_id = ? ORDER BY c.created_at_ms, COALESCE(n.number, 0), c.id"));
    row.bind(id);
    std::vector<CheckpointRecord> out;
    while (KVASIR_TRY(row.step())) {
      out.push_back({row.text(0), row.text(1), row.text(2), row.integer(3), static_cast<uint32_t>(row.integer(4)),
                     row.integer(5)});
    }
    return out;
  }

  Result<std::vector<SessionRecord>> children(std::string_view principal, std::string_view id) override {
    auto row = KVASIR_TRY(db_->prepare((std::string("SELECT ") + kSessionColumns +
                                        " FROM sessions WHERE principal = ? AND parent_id = ? ORDER BY sequence")
                                           .c_str()));
    row.bind(principal).bind(id);
    std::vector<SessionRecord> out;
    while (KVASIR_TRY(row.step())) out.push_back(read_session(row));
    return out;
  }

  Result<uint64_t> remove(std::string_view principal, std::string_view id) override {
    KVASIR_TRY(ensure_usable());
    KVASIR_TRY(get(principal, id));
    reach("remove.begin");
    auto tx = KVASIR_TRY(begin());
    KVASIR_TRY(delete_where("DELETE FROM sessions WHERE id = ?", id));
    reach("remove.row");
    const uint64_t bytes = KVASIR_TRY(delete_unreachable(*db_));
    reach("remove.unreachable");
    KVASIR_TRY(commit(tx));
    reach("remove.committed");
    // secure_delete overwrites freed pages; the WAL still holds old ones until it is moved and truncated.
    KVASIR_TRY(db_->checkpoint_wal());
    reach("remove.truncated");
    return bytes;
  }

  Result<uint64_t> collect_garbage(int64_t now) override {
    KVASIR_TRY(ensure_usable());
    reach("collect.begin");
    auto tx = KVASIR_TRY(begin());
    const auto expired = static_cast<uint64_t>(KVASIR_TRY(count_where(
        "SELECT COUNT(*) FROM sessions WHERE ttl_seconds > 0 AND updated_at_ms + ttl_seconds * 1000 < ?", now)));
    KVASIR_TRY(
        delete_where("DELETE FROM sessions WHERE ttl_seconds > 0 AND updated_at_ms + ttl_seconds * 1000 < ?", now));
    KVASIR_TRY(delete_unreachable(*db_));
    reach("collect.deleted");
    KVASIR_TRY(commit(tx));
    reach("collect.committed");
    KVASIR_TRY(db_->checkpoint_wal());
    reach("collect.truncated");
    return expired;
  }

  Result<bool> exists(std::string_view id) override {
    return KVASIR_TRY(count_where("SELECT COUNT(*) FROM sessions WHERE id = ?", id)) > 0;
  }

  Result<std::vector<PrincipalRecord>> principals() override {
    auto rows = KVASIR_TRY(db_->prepare("SELECT principal, COUNT(*) FROM sessions GROUP BY principal ORDER BY principal"));
    std::vector<PrincipalRecord> out;
    while (KVASIR_TRY(rows.step())) {
      out.push_back({rows.text(0), static_cast<uint64_t>(rows.integer(1)), KVASIR_TRY(usage_of(*db_, rows.text(0)))});
    }
    return out;
  }

  Result<StoreUsage> usage(std::string_view principal) override {
    return StoreUsage{KVASIR_TRY(usage_of(*db_, principal)), options_.limits.max_bytes_per_principal};
  }

  std::optional<std::string> lost() const override { return db_->lost(); }

  Result<std::vector<std::string>> verify() override { return check_store(*db_, options_.limits); }

 private:
  /// Statements end with their scope: an open read would keep the WAL from being truncated.
  template <class T>
  Result<int64_t> count_where(const char* sql, T value) {
    auto statement = KVASIR_TRY(db_->prepare(sql));
    statement.bind(value);
    KVASIR_TRY(statement.step());
    return statement.integer(0);
  }
  template <class T>
  Result<void> delete_where(const char* sql, T value) {
    auto statement = KVASIR_TRY(db_->prepare(sql));
    statement.bind(value);
    return statement.run();
  }
  void reach(const char* point) const {
    if (options_.reach) options_.reach(point);
  }
  Result<void> ensure_usable() const {
    if (db_->lost()) return Failure{Code::kUnavailable, "the session store failed and must be restarted: " + *db_->lost()};
    return {};
  }
  Result<Transaction> begin() { return Transaction::begin(*db_); }
  static Result<void> commit(Transaction& tx) { return tx.commit(); }

  Result<void> check_head(const AppendTurns& a, const SessionRecord& session, const std::string& head_hash) const {
    if (a.expected_head) {
      const std::string now = session.head == 0 ? std::string() : to_hex(head_hash);
      const bool matches = session.head == 0
                               ? a.expected_head->empty()
                               : a.expected_head->size() >= kShortestHeadPrefix && now.starts_with(*a.expected_head);
      if (!matches)
        return Failure{Code::kConflict, "the session moved on: its head is " + now + ", not " + *a.expected_head};
    }
    if (a.parent != session.head) return moved_on();
    return {};
  }
  static Failure moved_on() {
    return {Code::kConflict, "the session moved on while the answer was computed; nothing was stored"};
  }

  std::optional<FolderLock> lock_;
  std::unique_ptr<Database> db_;
  const StoreOptions options_;
};

}  // namespace

Result<std::unique_ptr<SessionStore>> open_session_store(const std::string& folder, const StoreOptions& options) {
  const auto reach = [&](const char* point) {
    if (options.reach) options.reach(point);
  };
  reach("open.begin");
  std::error_code ec;
  std::filesystem::create_directories(folder, ec);
  if (ec) return Failure{Code::kIo, "cannot make the folder " + folder + ": " + ec.message()};
  ::chmod(folder.c_str(), 0700);
  auto lock = KVASIR_TRY(FolderLock::take(folder));
  reach("open.locked");
  const std::string path = folder + "/meta.db";
  // Made by us with the right mode before SQLite sees it; its WAL inherits the mode.
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return Failure{Code::kIo, "cannot open " + path + ": " + std::strerror(errno)};
  ::close(fd);
  reach("open.file_made");
  auto db = KVASIR_TRY(Database::open(path, options.vfs));
  reach("open.opened");
  KVASIR_TRY(ensure_schema(*db));
  reach("open.schema");
  return std::unique_ptr<SessionStore>(std::make_unique<SqliteSessionStore>(std::move(db), std::move(lock), options));
}

Result<std::unique_ptr<SessionStore>> open_memory_session_store(const StoreOptions& options) {
  auto db = KVASIR_TRY(Database::open(""));
  KVASIR_TRY(ensure_schema(*db));
  return std::unique_ptr<SessionStore>(std::make_unique<SqliteSessionStore>(std::move(db), std::nullopt, options));
}

}  // namespace kvasir
