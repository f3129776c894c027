// What begins and ends one turn of a session, on the store's thread: whether it may be computed, the prompt it is
// computed from, what becomes of an earlier answer that was not finished, and the turns to append. The service keeps
// the order between turns.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/engine/messages.h"
#include "sessions/session_store.h"

namespace kvasir {

/// A request to go on with a session.
struct TurnRequest {
  std::string principal;
  std::string session_id;
  std::vector<ChatMessage> messages;  ///< appended; empty: the assistant's turn goes on
  std::optional<std::string> expected_head;
  std::string idempotency_key;
};

/// The right to compute one turn: the session waits for commit_turn() or abandon_turn().
struct TurnTicket {
  TurnRequest request;
  SessionRecord session;
  std::vector<Turn> turns;              ///< the path so far
  Prompt prompt;                        ///< for the engine, with the stored tokens as history
  std::optional<StoredReply> replayed;  ///< the key was answered before: give this and abandon
  // Of an earlier answer that was not finished: tokens of it that are now the session's last turn, because nothing else
  // was asked; or that go when this turn is stored, because something was.
  uint64_t continued_tokens = 0, dropped_tokens = 0;
  bool partial_saved = false;
};
/// What the engine said, as far as it is stored.
struct TurnOutcome {
  GenerateResult result;
  std::string fingerprint;
  std::string parameters_json;
  std::string reply_json;  ///< for the idempotency key
};

/// The hash of the last turn; empty without any.
std::string head_of(const std::vector<Turn>& turns);
/// What is kept of an unfinished answer behind the head. What cannot be read is nothing, and a warning in the log
/// (`kvasir sessions verify` names it).
std::optional<PartialTurns> readable_partial(SessionStore& store, const std::string& principal, const std::string& id);
/// Errors: kNotFound, kConflict (expected head; a key of another question), kInvalidArgument, kCorrupt.
Result<TurnTicket> prepare_turn(SessionStore& store, TurnRequest request);
/// The turns that the question and what there is of its answer become.
AppendTurns turns_to_append(const TurnTicket& ticket, const TurnOutcome& outcome);
/// The same when the answer is done: with the reply for the idempotency key.
AppendTurns finished_turns(const TurnTicket& ticket, const TurnOutcome& outcome);

}  // namespace kvasir
