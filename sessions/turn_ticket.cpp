#include "sessions/turn_ticket.h"

#include <utility>

#include "core/base/log.h"
#include "sessions/chain_hash.h"
#include "sessions/turn_builder.h"

namespace kvasir {
namespace {

constexpr std::string_view kSystem = "system";
constexpr size_t kShortestHead = 8;

/// What was asked, as 64 hex digits: a key stands for one question only.
std::string question_hash(const TurnRequest& request) {
  std::string hash;
  for (const auto& message : request.messages) {
    hash = keyed_hash(request.session_id, {hash, message.role, message.content, message.json});
  }
  return hash.empty() ? std::string(2 * kHashBytes, '0') : to_hex(hash);
}

/// Stored replies: the question's hash, then the reply. Errors: kConflict when it was another question.
Result<StoredReply> same_question(const TurnRequest& request, StoredReply stored) {
  if (stored.reply_json.starts_with('{')) return stored;  // of a version that kept no hash
  if (!stored.reply_json.starts_with(question_hash(request))) {
    return Failure{Code::kConflict, "idempotency_key '" + request.idempotency_key +
                                        "' was used for another prompt in this session: take a new key for a new prompt"};
  }
  stored.reply_json.erase(0, 2 * kHashBytes);
  return stored;
}

/// What becomes of an answer that was not finished: with nothing else asked it is the answer that goes on.
Result<void> take_partial(SessionStore& store, const TurnRequest& request, TurnTicket& ticket) {
  const auto partial = readable_partial(store, request.principal, request.session_id);
  if (!partial) return {};
  const uint64_t tokens = partial->turns.back().tokens.size();
  if (!request.messages.empty()) {
    ticket.dropped_tokens = tokens;
    return {};
  }
  KVASIR_TRY(store.adopt_partial(request.principal, request.session_id));
  ticket.session = KVASIR_TRY(store.get(request.principal, request.session_id));
  ticket.turns = KVASIR_TRY(store.path(request.principal, ticket.session.head));
  ticket.continued_tokens = tokens;
  return {};
}

}  // namespace

std::string head_of(const std::vector<Turn>& turns) {
  return turns.empty() ? std::string() : turns.back().hash;
}

std::optional<PartialTurns> readable_partial(SessionStore& store, const std::string& principal, const std::string& id) {
  auto partial = store.partial(principal, id);
  if (partial) return std::move(*partial);
  log::warn("unfinished_answer_unreadable session=" + id + " message=" + partial.error().message);
  return std::nullopt;
}

Result<TurnTicket> prepare_turn(SessionStore& store, TurnRequest request) {
  TurnTicket ticket;
  ticket.session = KVASIR_TRY(store.get(request.principal, request.session_id));
  if (!request.idempotency_key.empty()) {
    ticket.replayed = KVASIR_TRY(store.replayed(request.principal, request.session_id, request.idempotency_key));
    if (ticket.replayed) {
      ticket.replayed = KVASIR_TRY(same_question(request, std::move(*ticket.replayed)));
      ticket.request = std::move(request);
      return ticket;
    }
  }
  const StoreUsage usage = KVASIR_TRY(store.usage(request.principal));
  if (usage.bytes >= usage.max_bytes) {
    return Failure{Code::kTooLarge, "the stored conversations take all of the " + std::to_string(usage.max_bytes) +
                                        " bytes that they may: delete sessions (delete_session) or raise --quota-conversation-mb"};
  }
  ticket.turns = KVASIR_TRY(store.path(request.principal, ticket.session.head));
  const std::string head = head_of(ticket.turns);
  if (request.expected_head && !request.expected_head->empty() && request.expected_head->size() < kShortestHead) {
    return Failure{Code::kInvalidArgument, "expected_head: at least 8 digits, fewer are a guess"};
  }
  if (request.expected_head &&
      (request.expected_head->empty() != head.empty() || !head.starts_with(*request.expected_head))) {
    return Failure{Code::kConflict, "the session moved on: its head is '" + head + "', not '" + *request.expected_head +
                                        "'; look at get_session and repeat"};
  }
  KVASIR_TRY(take_partial(store, request, ticket));
  for (const auto& message : request.messages) {
    if (message.role == kSystem && !ticket.turns.empty()) {
      return Failure{Code::kInvalidArgument,
                     "a session's system message is its first; make another session for another one"};
    }
  }
  if (request.messages.empty() && ticket.turns.empty()) {
    return Failure{Code::kInvalidArgument, "this session is empty: give prompt or messages"};
  }
  KVASIR_TRY(session_context(ticket.turns));
  ticket.prompt = session_prompt(ticket.turns, request.messages);
  ticket.prompt.history_model = ticket.session.fingerprint;
  if (request.messages.empty() && ticket.prompt.tokens.empty()) {
    return Failure{Code::kInvalidArgument, "there is no answer to go on with: give prompt or messages"};
  }
  ticket.request = std::move(request);
  return ticket;
}

AppendTurns turns_to_append(const TurnTicket& ticket, const TurnOutcome& outcome) {
  AppendTurns out;
  out.principal = ticket.request.principal;
  out.session_id = ticket.request.session_id;
  out.parent = ticket.session.head;
  out.turns = answered_turns(ticket.turns, ticket.request.messages, outcome.result, outcome.parameters_json);
  out.model = outcome.result.model;
  out.fingerprint = outcome.fingerprint;
  return out;
}

AppendTurns finished_turns(const TurnTicket& ticket, const TurnOutcome& outcome) {
  AppendTurns out = turns_to_append(ticket, outcome);
  out.idempotency_key = ticket.request.idempotency_key;
  out.reply_json = question_hash(ticket.request) + outcome.reply_json;
  return out;
}

}  // namespace kvasir
