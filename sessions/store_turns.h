// Chains of turns behind SqliteSessionStore: read and verified, appended, and kept beside a session while their answer
// is not done. Each function runs inside the caller's transaction, on the store thread. Errors: those of Database;
// kCorrupt for a chain that does not verify; kTooLarge by name.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sessions/database.h"
#include "sessions/session_store.h"

namespace kvasir::store_rows {

/// The path from the first turn to `node`, oldest first.
Result<std::vector<Turn>> read_path(Database& db, std::string_view principal, TurnNode node, const SessionLimits& limits);
/// Appends the turns behind `parent`; they come back as stored. Reaches `point` behind each.
Result<std::vector<Turn>> append_nodes(Database& db, std::string_view principal, TurnNode parent, std::vector<Turn> turns,
                                       const StoreOptions& options, const char* point);

/// What is kept beside a session. Row and nodes are nobody else's.
struct PartialRow {
  TurnNode node = 0;    ///< what there is of the answer
  TurnNode parent = 0;  ///< the head behind which it was computed
  std::string model, fingerprint;
  int64_t saved_at_ms = 0;
};
Result<std::optional<PartialRow>> partial_row(Database& db, std::string_view session_id);
/// Keeps the turns behind the session's head, instead of what was kept before. Of the same question only the answer is
/// written again.
Result<void> keep_partial(Database& db, const SessionRecord& session, const AppendTurns& turns, const StoreOptions& options);
/// Deletes what is kept, if anything.
Result<void> drop_partial(Database& db, std::string_view session_id);

/// A line for everything that is wrong with the file, with a session's chain or with what is kept beside it.
Result<std::vector<std::string>> check_store(Database& db, const SessionLimits& limits);

}  // namespace kvasir::store_rows
