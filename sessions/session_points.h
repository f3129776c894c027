// What a caller may call a point of a session: a turn number, a checkpoint's id or name, nothing for its head. Store
// thread.
#pragma once

#include <string>
#include <string_view>

#include "sessions/session_store.h"

namespace kvasir {

/// The turn that `at` names; 0: before the first. Of checkpoints with the same name the newest. Errors: kNotFound, with
/// what there is; kCorrupt when its turns do not verify.
Result<TurnNode> find_point(SessionStore& store, std::string_view principal, const SessionRecord& session,
                            const std::string& at);

}  // namespace kvasir
