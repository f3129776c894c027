// The durable store of conversations: what must not be lost (CHECKPOINT_FORMAT.md). One writer; every call is one
// transaction that is on the disk when it returns (SQLite WAL, synchronous=FULL), so a reply may say `durable`.
// Called on the store's own thread only (store_thread.h). Errors: kNotFound (also for another principal's session),
// kConflict (expected head), kTooLarge (quota, by name), kIo (not durable: nothing changed), kCorrupt, and kUnavailable
// once the store is poisoned by a failed fsync: then only a restart helps.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "sessions/session_types.h"

namespace kvasir {

struct SessionPage {
  std::vector<SessionRecord> sessions;
  std::optional<std::string> next_cursor;
};

/// Turns to append in one transaction, with the optimistic check.
struct AppendTurns {
  std::string principal;
  std::string session_id;
  std::optional<std::string> expected_head;  ///< hash (or prefix of at least 8 digits) of the head the caller saw
  TurnNode parent = 0;                       ///< head on which the turns were computed; must still be the head
  std::vector<Turn> turns;                   ///< node, parent, number and hash are filled by the store
  std::string model;
  std::string fingerprint;
  std::string idempotency_key;  ///< empty: none
  std::string reply_json;       ///< kept for the key: a repeat gets it instead of doing it again
};

/// What was answered under an idempotency key.
struct StoredReply {
  std::string reply_json;
  std::string head;  ///< the session's head after that answer
};

class SessionStore {
 public:
  virtual ~SessionStore() = default;

  virtual Result<SessionRecord> create(SessionRecord record) = 0;  ///< fills id and times
  virtual Result<SessionRecord> get(std::string_view principal, std::string_view session_id) = 0;
  virtual Result<SessionPage> list(std::string_view principal, uint32_t limit, std::string_view cursor) = 0;
  /// The path from the first turn to `node`, oldest first.
  virtual Result<std::vector<Turn>> path(std::string_view principal, TurnNode node) = 0;
  /// Returns the new head's turns as stored.
  virtual Result<std::vector<Turn>> append(const AppendTurns& append) = 0;
  /// Keeps what there is of an answer beside the session, instead of what was kept before. No head moves; append() and
  /// another head drop it. Errors: kConflict when the session's head is not the parent.
  virtual Result<void> save_partial(const AppendTurns& turns) = 0;
  /// What save_partial() kept behind the present head.
  virtual Result<std::optional<PartialTurns>> partial(std::string_view principal, std::string_view session_id) = 0;
  /// Makes it the session's own turns: the head moves there. Errors: kNotFound when there is none.
  virtual Result<void> adopt_partial(std::string_view principal, std::string_view session_id) = 0;
  virtual Result<void> drop_partial(std::string_view principal, std::string_view session_id) = 0;
  /// The reply stored under an idempotency key of this session, if any.
  virtual Result<std::optional<StoredReply>> replayed(std::string_view principal, std::string_view session_id,
                                                      std::string_view key) = 0;
  /// A new session whose head is `node` (of `from`): no turn is copied.
  virtual Result<SessionRecord> fork(std::string_view principal, std::string_view from, TurnNode node,
                                     std::string_view title) = 0;
  /// Moves the head. Turns that no session or checkpoint reaches any more are deleted by collect_garbage().
  virtual Result<SessionRecord> set_head(std::string_view principal, std::string_view session_id, TurnNode node) = 0;
  virtual Result<CheckpointRecord> checkpoint(std::string_view principal, std::string_view session_id,
                                              std::string_view name) = 0;
  virtual Result<std::vector<CheckpointRecord>> checkpoints(std::string_view principal,
                                                            std::string_view session_id) = 0;
  virtual Result<std::vector<SessionRecord>> children(std::string_view principal, std::string_view session_id) = 0;
  /// Removes the session, its checkpoints and every turn only it reached. Returns the bytes of text and tokens deleted.
  virtual Result<uint64_t> remove(std::string_view principal, std::string_view session_id) = 0;
  /// Deletes sessions past their time to live and unreachable turns. Returns how many sessions went.
  virtual Result<uint64_t> collect_garbage(int64_t now_ms) = 0;
  /// Whether anybody's session has this id (for what is kept beside the store).
  virtual Result<bool> exists(std::string_view session_id) = 0;
  virtual Result<StoreUsage> usage(std::string_view principal) = 0;
  /// Whoever has sessions, and how many: for whoever may read the folder anyway.
  virtual Result<std::vector<PrincipalRecord>> principals() = 0;
  /// Why nothing is stored any more until a restart (a failed write or fsync), if that is so.
  virtual std::optional<std::string> lost() const = 0;
  /// Checks every chain of hashes. Returns a line per finding; empty: all well.
  virtual Result<std::vector<std::string>> verify() = 0;
};

/// Opens (or makes) `folder`/meta.db. Errors: kConflict when another process holds the folder's lock, kUnsupported for
/// a store of a newer version (nothing is changed), kCorrupt (what to do is in the message), kIo.
Result<std::unique_ptr<SessionStore>> open_session_store(const std::string& folder, const StoreOptions& options = {});
/// The same without a disk: --no-store and tests.
Result<std::unique_ptr<SessionStore>> open_memory_session_store(const StoreOptions& options = {});

}  // namespace kvasir
