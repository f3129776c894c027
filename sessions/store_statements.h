// The statements behind SqliteSessionStore that are more than one line: schema, inserts, salts, garbage. Each runs
// inside the caller's transaction, on the store thread. Errors: those of Database, and kCorrupt for a node that is not
// there.
#pragma once

#include <string>
#include <string_view>

#include "sessions/database.h"
#include "sessions/session_types.h"

namespace kvasir::store_rows {

/// Makes the tables in a new database; refuses another application's, and a newer format.
Result<void> ensure_schema(Database& db);
Result<void> insert_session(Database& db, const SessionRecord& r);
/// Errors: kTooLarge above `max_bytes` of text and tokens.
Result<TurnNode> insert_node(Database& db, std::string_view principal, const Turn& t, const std::string& hash,
                             uint64_t max_bytes);
/// The session goes on from `node`, as the last one used.
Result<void> move_head(Database& db, std::string_view session_id, TurnNode node, std::string_view model,
                       std::string_view fingerprint);
/// Bytes of text, tokens and kept replies of everything that this principal stored.
Result<uint64_t> usage_of(Database& db, std::string_view principal);
/// Errors: kTooLarge, with the numbers, if `more` bytes are above the quota.
Result<void> ensure_room(Database& db, std::string_view principal, uint64_t more, const SessionLimits& limits);
/// 32 bytes; zeros for a principal that stored nothing yet.
Result<std::string> salt_of(Database& db, std::string_view principal);
Result<std::string> ensure_salt(Database& db, std::string_view principal);
Result<uint32_t> number_of(Database& db, TurnNode node);
Result<std::string> hash_of(Database& db, TurnNode node);
/// Deletes turns that no session and no checkpoint reaches. Returns their bytes of text and tokens.
Result<uint64_t> delete_unreachable(Database& db);

}  // namespace kvasir::store_rows
