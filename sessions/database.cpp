#include "sessions/database.h"

#include <sqlite3.h>

#include <utility>

namespace kvasir {
namespace {

Failure failure(sqlite3* db, const char* doing) {
  const int code = sqlite3_extended_errcode(db);
  std::string message = std::string(doing) + ": " + sqlite3_errmsg(db);
  switch (code & 0xff) {
    case SQLITE_FULL:
      return {Code::kTooLarge, message + " (the disk is full; free space and repeat)"};
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return {Code::kCorrupt, message};
    case SQLITE_READONLY:
      return {Code::kIo, message + " (make the data folder writable and repeat)"};
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return {Code::kConflict, message};
    case SQLITE_CONSTRAINT:
      return {Code::kConflict, message};
    default:
      return {Code::kIo, message};
  }
}

int as_int(size_t size) {
  return static_cast<int>(size);
}

}  // namespace

Statement::Statement(Statement&& other) noexcept
    : statement_(std::exchange(other.statement_, nullptr)),
      db_(other.db_),
      next_(other.next_),
      bind_error_(other.bind_error_) {}
Statement::~Statement() {
  sqlite3_finalize(statement_);
}

Statement& Statement::bind(int64_t value) {
  bind_error_ |= sqlite3_bind_int64(statement_, next_++, value);
  return *this;
}
Statement& Statement::bind(std::string_view text) {
  // A null pointer would bind NULL, but an empty text is a text.
  bind_error_ |=
      sqlite3_bind_text(statement_, next_++, text.empty() ? "" : text.data(), as_int(text.size()), SQLITE_TRANSIENT);
  return *this;
}
Statement& Statement::bind_blob(std::string_view bytes) {
  bind_error_ |=
      sqlite3_bind_blob(statement_, next_++, bytes.empty() ? "" : bytes.data(), as_int(bytes.size()), SQLITE_TRANSIENT);
  return *this;
}
Statement& Statement::bind_null() {
  bind_error_ |= sqlite3_bind_null(statement_, next_++);
  return *this;
}

Result<bool> Statement::step() {
  if (bind_error_ != 0) return Failure{Code::kTooLarge, "a value is too large for the store"};
  switch (sqlite3_step(statement_)) {
    case SQLITE_ROW:
      return true;
    case SQLITE_DONE:
      return false;
    default:
      return failure(db_, "session store");
  }
}
Result<void> Statement::run() {
  while (KVASIR_TRY(step())) {
  }
  return {};
}

int64_t Statement::integer(int column) const {
  return sqlite3_column_int64(statement_, column);
}
std::string Statement::text(int column) const {
  const auto* data = static_cast<const char*>(sqlite3_column_blob(statement_, column));
  const int size = sqlite3_column_bytes(statement_, column);
  return data == nullptr ? std::string() : std::string(data, static_cast<size_t>(size));
}
bool Statement::is_null(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

Result<std::unique_ptr<Database>> Database::open(const std::string& path, const std::string& vfs) {
  sqlite3* raw = nullptr;
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW |
                    (path.empty() ? SQLITE_OPEN_MEMORY : 0);
  const int code =
      sqlite3_open_v2(path.empty() ? ":memory:" : path.c_str(), &raw, flags, vfs.empty() ? nullptr : vfs.c_str());
  std::unique_ptr<Database> db(new Database(raw));
  if (code != SQLITE_OK) return failure(raw, "opening the session store");
  sqlite3_extended_result_codes(raw, 1);
  sqlite3_db_config(raw, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(raw, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_limit(raw, SQLITE_LIMIT_LENGTH, 64 << 20);
  sqlite3_limit(raw, SQLITE_LIMIT_ATTACHED, 0);
  KVASIR_TRY(
      db->execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA secure_delete=ON; PRAGMA mmap_size=0;"
                  "PRAGMA cell_size_check=ON; PRAGMA foreign_keys=ON; PRAGMA wal_autocheckpoint=1000;"));
  return db;
}

Database::~Database() {
  sqlite3_close_v2(db_);
}

Result<void> Database::execute(const char* sql) {
  if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) == SQLITE_OK) return {};
  note_failure();
  return failure(db_, "session store");
}
void Database::note_failure() {
  if (lost_) return;
  switch (sqlite3_extended_errcode(db_)) {
    case SQLITE_IOERR:
    case SQLITE_IOERR_WRITE:
    case SQLITE_IOERR_FSYNC:
    case SQLITE_IOERR_DIR_FSYNC:
    case SQLITE_IOERR_TRUNCATE:
      lost_ = sqlite3_errmsg(db_);
      break;
    default:  // a full or read-only disk loses nothing that was written
      break;
  }
}
Result<Statement> Database::prepare(const char* sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(db_, sql, -1, &statement, nullptr) != SQLITE_OK) return failure(db_, "session store");
  return Statement(statement, db_);
}
int64_t Database::last_insert_id() const {
  return sqlite3_last_insert_rowid(db_);
}
Result<int64_t> Database::scalar(const char* sql) {
  auto statement = KVASIR_TRY(prepare(sql));
  if (!KVASIR_TRY(statement.step())) return Failure{Code::kInternal, "a scalar query gave no row"};
  return statement.integer(0);
}
Result<void> Database::checkpoint_wal() {
  return execute("PRAGMA wal_checkpoint(TRUNCATE);");
}

Result<Transaction> Transaction::begin(Database& db) {
  KVASIR_TRY(db.execute("BEGIN IMMEDIATE"));
  return Transaction(&db);
}
Transaction::~Transaction() {
  if (db_ == nullptr) return;
  db_->note_failure();  // of the statement because of which there was no commit
  (void)db_->execute("ROLLBACK").has_value();
}
Result<void> Transaction::commit() {
  KVASIR_TRY(db_->execute("COMMIT"));
  db_ = nullptr;
  return {};
}

}  // namespace kvasir
