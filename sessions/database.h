// A thin RAII layer over one SQLite connection: prepared statements with checked binding, transactions, and errors as
// Results. The only user of sqlite3.h is database.cpp. Store thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace kvasir {

class Statement {
 public:
  Statement(sqlite3_stmt* statement, sqlite3* db) : statement_(statement), db_(db) {}
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&&) = delete;
  ~Statement();

  Statement& bind(int64_t value);
  Statement& bind(std::string_view text);
  Statement& bind_blob(std::string_view bytes);
  Statement& bind_null();
  /// The next row: true, or false at the end.
  Result<bool> step();
  /// Runs to the end, ignoring rows.
  Result<void> run();

  int64_t integer(int column) const;
  std::string text(int column) const;  ///< bytes of a text or blob column; empty for NULL
  bool is_null(int column) const;

 private:
  sqlite3_stmt* statement_;
  sqlite3* db_;
  int next_ = 1;
  int bind_error_ = 0;
};

class Database {
 public:
  /// `path` "" opens a database in memory. `vfs`: a registered SQLite VFS, or "" for the system's files.
  static Result<std::unique_ptr<Database>> open(const std::string& path, const std::string& vfs = "");
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  Result<void> execute(const char* sql);
  Result<Statement> prepare(const char* sql);
  int64_t last_insert_id() const;
  Result<int64_t> scalar(const char* sql);
  /// Moves the WAL into the database file and truncates it (deleted text must not linger there).
  Result<void> checkpoint_wal();
  /// Why it must not be written to any more: a write or fsync failed, and what the system now says is on the disk may
  /// not be there.
  const std::optional<std::string>& lost() const noexcept { return lost_; }

 private:
  friend class Transaction;
  explicit Database(sqlite3* db) : db_(db) {}
  void note_failure();  ///< after a failed call, before the next one
  sqlite3* db_;
  std::optional<std::string> lost_;
};

/// BEGIN IMMEDIATE in create(), ROLLBACK in the destructor unless commit() succeeded.
class Transaction {
 public:
  static Result<Transaction> begin(Database& db);
  Transaction(Transaction&& other) noexcept : db_(other.db_) { other.db_ = nullptr; }
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  Result<void> commit();

 private:
  explicit Transaction(Database* db) : db_(db) {}
  Database* db_;
};

}  // namespace kvasir
