// The part of a tool call that sessions play: tools that only ask them, and generate_text, whose turn is stored before
// the reply says so.
#include <utility>
#include <variant>

#include "core/base/log.h"
#include "mcp/error_mapping.h"
#include "mcp/tool_call.h"
#include "mcp/tools/compression_run.h"
#include "mcp/tools/generation_tools.h"
#include "mcp/tools/session_json.h"
#include "mcp/tools/session_tools.h"
#include "rpc/message.h"

namespace kvasir::mcp {
namespace {

const Error kGone{Code::kCancelled, "cancelled"};
constexpr size_t kLongestFocus = 2000;  // of a message, its end: what is asked usually stands there

/// Whether there is anything to keep. A prompt that was never answered is not: it can be sent again.
bool worth_storing(const GenerateResult& result) {
  if (result.context_tokens.empty() || result.finish_reason == FinishReason::kCancelled) return false;
  return result.finish_reason == FinishReason::kStop || result.usage.completion_tokens > 0;
}

/// Tells what is left of an answer that failed.
Error with_leftover(Error error, const TurnTicket& ticket) {
  if (ticket.partial_saved) {
    error.message += "; what was written of the answer is kept: with the session_id and no prompt it goes on";
  }
  return error;
}

/// The end of a text, whole characters.
std::string last_bytes(const std::string& text, size_t most) {
  size_t from = text.size() - std::min(text.size(), most);
  while (from < text.size() && (static_cast<unsigned char>(text[from]) & 0xC0U) == 0x80U) ++from;
  return text.substr(from);
}

std::string parameters_json(const GenerateResult& r, const char* finish_reason) {
  return rpc::dump(Json{{"seed", r.seed},
                        {"finish_reason", finish_reason},
                        {"completion_tokens", r.usage.completion_tokens},
                        {"temperature", r.sampling.temperature},
                        {"top_k", r.sampling.top_k},
                        {"top_p", r.sampling.top_p},
                        {"min_p", r.sampling.min_p}});
}

}  // namespace

void ToolCall::run_session(const SessionWork& work) {
  work(services_.sessions, principal_,
       [self = shared_from_this()](Result<SessionStep> step) { self->on_session_step(std::move(step)); });
}

void ToolCall::on_session_step(Result<SessionStep> step) {
  if (!step) return settle(step.error(), kDefaultRetryAfterMs);
  step_ = std::move(*step);
  if (stopped_ && step_->next) return settle(abort_reason_.value_or(kGone), 0);
  if (step_->ask) {
    auto sent = send(std::move(*step_->ask));
    if (sent) {
      if (stopped_) services_.calls.cancel(id_);
      return;
    }
    return end_step(Failed{0, sent.error().code, sent.error().message, 0});
  }
  Json result = std::move(step_->result);
  step_.reset();
  end_steps(std::move(result));
}

void ToolCall::end_steps(Json result) {
  if (again_ && !stopped_) {  // the session is shorter now: the turn that did not fit is asked again
    compression_ = std::move(result);
    return begin_turn(std::move(*std::exchange(again_, std::nullopt)));
  }
  finished_ = true;
  if (again_) return settle(abort_reason_.value_or(kGone), 0);
  if (!cancelled_) count("ok");
  answer(std::move(result));
}

void ToolCall::end_step(const Event& event) {
  SessionStep step = std::move(*step_);
  step_.reset();
  if (step.next) {
    if (abort_reason_) return settle(*abort_reason_, 0);
    return step.next(event, services_.sessions, principal_,
                     [self = shared_from_this()](Result<SessionStep> next) { self->on_session_step(std::move(next)); });
  }
  step.merge(step.result, event);
  end_steps(std::move(step.result));
}

/// Overflow `compress`: a turn that did not fit waits until its session was made shorter, by what the new message looks
/// at. Once: whatever does not fit then is an error.
bool ToolCall::compress_and_repeat(const Event& event) {
  const auto* failed = std::get_if<Failed>(&event);
  if (failed == nullptr || failed->code != Code::kTooLarge || !again_ || compression_ || stopped_) return false;
  CompressionRequest request;
  request.session_id = ticket_->session.id;
  request.strategy = Strategy::kAttentionBased;
  request.strategy_name = "attention_based";
  if (const auto& added = ticket_->request.messages; !added.empty() && !added.back().content.empty()) {
    request.focus = last_bytes(added.back().content, kLongestFocus);
  }
  request.judge = false;
  services_.sessions.abandon_turn(*std::exchange(ticket_, std::nullopt));
  run_session([request, why = to_error(*failed)](SessionService& sessions, const std::string& principal, Then<SessionStep> then) {
    sessions.get(principal, request.session_id,
                 [request, why, then = std::move(then)](Result<SessionDetails> details) mutable {
                   if (!details) return then(Failure(std::move(details).error()));
                   auto begun = begin_compression(request, std::move(*details));
                   if (!begun) begun = Failure{why.code, why.message + "; " + begun.error().message};
                   then(std::move(begun));
                 });
  });
  return true;
}

void ToolCall::begin_turn(ToolRequest request) {
  TurnRequest turn = std::move(*request.turn);
  turn.principal = principal_;
  services_.sessions.begin_turn(
      std::move(turn), [self = shared_from_this(), request = std::move(request)](Result<TurnTicket> ticket) mutable {
        self->on_ticket(std::move(request), std::move(ticket));
      });
}

void ToolCall::on_ticket(ToolRequest request, Result<TurnTicket> ticket) {
  if (!ticket) return settle(abort_reason_.value_or(ticket.error()), kDefaultRetryAfterMs);
  if (ticket->replayed) {
    services_.sessions.abandon_turn(*ticket);
    Json again = Json::parse(ticket->replayed->reply_json, nullptr, false);
    again["head"] = ticket->replayed->head;
    again["durable"] = services_.sessions.durable();
    again["replayed"] = true;
    finished_ = true;
    if (!cancelled_) count("ok");
    return answer(std::move(again));
  }
  if (stopped_) {
    services_.sessions.abandon_turn(*ticket);
    return settle(abort_reason_.value_or(kGone), 0);
  }
  auto& generate = std::get<Generate>(request.command);
  auto policy = overflow_policy(request.overflow.value_or(ticket->session.overflow));
  // The session brings the conversation, the call what else the template gets.
  Prompt prompt = std::move(ticket->prompt);
  prompt.tools_json = std::move(generate.prompt.tools_json);
  prompt.template_extra_json = std::move(generate.prompt.template_extra_json);
  prompt.enable_thinking = generate.prompt.enable_thinking;
  generate.prompt = std::move(prompt);
  generate.cache_owner = ticket->session.id;
  generate.partial_every = services_.autosave_tokens;
  if (policy) generate.overflow = *policy;
  if (generate.overflow == OverflowPolicy::kCompress && !compression_) {
    again_ = ToolRequest{.command = generate, .stream = request.stream, .turn = ticket->request, .overflow = request.overflow};
  }
  auto sent = policy ? send(std::move(request.command)) : Result<void>(Failure(policy.error()));
  if (!sent) {
    services_.sessions.abandon_turn(*ticket);
    return settle(sent.error(), kDefaultRetryAfterMs);
  }
  ticket_ = std::move(*ticket);
}

void ToolCall::end_turn(const Event& event) {
  const auto* result = std::get_if<GenerateResult>(&event);
  if (compress_and_repeat(event)) return;
  again_.reset();
  auto answered = tool_.result(event);
  if (answered && compression_) {
    (*answered)["truncated"] = Json{{"policy", "compress"},
                                    {"removed_tokens", (*compression_)["tokens_before"].get<uint64_t>() -
                                                           (*compression_)["tokens_after"].get<uint64_t>()},
                                    {"removed_messages", 0},
                                    {"dnll", (*compression_)["dnll"]},
                                    {"checkpoint_before", (*compression_)["checkpoint_before"]}};
  }
  if (result != nullptr && answered && !abort_reason_ && worth_storing(*result)) {
    return commit(*result, std::move(*answered));
  }
  leave_turn(result);
  if (abort_reason_) return settle(with_leftover(*abort_reason_, *ticket_), 0);
  if (const auto* failed = std::get_if<Failed>(&event)) return settle(with_leftover(to_error(*failed), *ticket_), failed->retry_after_ms);
  if (!answered) return settle(answered.error(), 0);
  finished_ = true;
  if (!cancelled_) count("ok");
  add_session_facts(*answered, *ticket_, false);
  (*answered)["not_stored"] = "there is no answer to keep; the session is as it was";
  answer(std::move(*answered));
}

/// The turn ends without an answer to store. What there is of one is kept beside the session, unless the caller took it
/// back.
void ToolCall::leave_turn(const GenerateResult* result) {
  if (!unwanted_ && result != nullptr && !result->context_tokens.empty() && result->usage.completion_tokens > 0) {
    save_partial(*result);
  }
  services_.sessions.abandon_turn(*ticket_, unwanted_ ? Leftover::kDrop : Leftover::kKeep);
}

void ToolCall::save_partial(const GenerateResult& so_far) {
  saving_ = true;
  services_.sessions.save_partial(*ticket_, {so_far, so_far.fingerprint, parameters_json(so_far, kInterrupted), ""},
                                  [self = weak<ToolCall>()](Result<void> saved) {
                                    if (!saved) log::warn("partial_not_saved message=" + saved.error().message);
                                    if (auto call = self.lock()) call->saving_ = false;
                                  });
}

/// A disk that is behind gets the next one instead.
void ToolCall::partial(const PartialResult& partial) {
  if (ticket_ && !stopped_ && !saving_) save_partial(partial.so_far);
}

bool ToolCall::closing() {
  if (!ticket_) return false;
  abort({Code::kUnavailable, "the server is shutting down"});
  return true;
}

void ToolCall::commit(const GenerateResult& result, Json answered) {
  finished_ = true;
  add_session_facts(answered, *ticket_, services_.sessions.durable());
  if (ticket_->dropped_tokens > 0) answered["dropped_tokens"] = ticket_->dropped_tokens;
  TurnOutcome outcome{result, result.fingerprint, parameters_json(result, finish_reason_name(result.finish_reason)),
                      rpc::dump(answered)};
  services_.sessions.commit_turn(
      std::move(*ticket_), std::move(outcome),
      [self = shared_from_this(), answered = std::move(answered)](Result<CommittedTurn> done) mutable {
        if (done) {
          answered["head"] = done->head;
        } else if (done.error().code == Code::kConflict || done.error().code == Code::kNotFound) {
          return self->settle(done.error(), 0);
        } else {
          // The answer exists, only the disk failed: whoever asked gets it, and the truth about it.
          log::error("turn_not_stored message=" + done.error().message);
          answered["durable"] = false;
          answered["not_stored"] = done.error().message;
        }
        if (!self->cancelled_) self->count("ok");
        self->answer(std::move(answered));
      });
}

}  // namespace kvasir::mcp
