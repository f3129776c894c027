// A session as one JSON document, for export and import: everything but the store's own numbers and hashes, which are
// keyed and made anew. Pure functions; import is for files from outside.
#pragma once

#include <string>
#include <vector>

#include "core/base/result.h"
#include "rpc/json.h"
#include "sessions/session_types.h"

namespace kvasir::app {

struct ImportedSession {
  SessionRecord session;
  std::vector<Turn> turns;
};

rpc::Json session_to_json(const SessionRecord& session, const std::vector<Turn>& turns);
/// Errors: kInvalidArgument (which member is wrong), kUnsupported (a newer format).
Result<ImportedSession> session_from_json(const rpc::Json& json);
/// Wall time in ms since 1970.
int64_t now_ms();

}  // namespace kvasir::app
