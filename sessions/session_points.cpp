#include "sessions/session_points.h"

#include <ranges>

#include "sessions/turn_builder.h"

namespace kvasir {

Result<TurnNode> find_point(SessionStore& store, std::string_view principal, const SessionRecord& session,
                            const std::string& at) {
  if (at.empty()) return session.head;
  const auto turns = KVASIR_TRY(store.path(principal, session.head));
  if (const auto index = turn_at(turns, at)) return *index == 0 ? TurnNode{0} : turns[*index - 1].node;
  const auto checkpoints = KVASIR_TRY(store.checkpoints(principal, session.id));
  for (const auto& checkpoint : std::views::reverse(checkpoints)) {
    if (checkpoint.id != at && (checkpoint.name.empty() || checkpoint.name != at)) continue;
    KVASIR_TRY(store.path(principal, checkpoint.node));  // still there and unchanged
    return checkpoint.node;
  }
  return Failure{Code::kNotFound, "'" + at + "' is neither a turn of this session (0 to " + std::to_string(turns.size()) +
                                      ") nor one of its checkpoints"};
}

}  // namespace kvasir
