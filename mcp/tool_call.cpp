#include "mcp/tool_call.h"

#include <utility>
#include <variant>

#include "core/base/log.h"
#include "mcp/error_mapping.h"

namespace kvasir::mcp {

ToolCall::ToolCall(const CallServices& services, const Tool& tool, rpc::Transport transport, std::string principal,
                   rpc::Responder reply)
    : services_(services),
      tool_(tool),
      transport_(transport),
      principal_(std::move(principal)),
      reply_(std::move(reply)),
      started_(services.loop.now()) {}

void ToolCall::start(EngineKey engine, ToolRequest request) {
  engine_ = std::move(engine);
  reply_.on_cancel([self = weak<ToolCall>()](rpc::CancelCause cause) {
    if (auto call = self.lock()) call->on_cancel(cause);
  });
  if (request.session) return run_session(request.session);
  if (request.turn) return begin_turn(std::move(request));
  if (auto sent = send(std::move(request.command)); !sent) settle(sent.error(), kDefaultRetryAfterMs);
}

Result<void> ToolCall::send(CommandBody command) {
  std::visit(
      [this](auto& body) {
        if constexpr (requires { body.cache_salt; }) body.cache_salt = principal_;
      },
      command);
  EngineKey engine = engine_;
  if (services_.resolve_model) engine.model = KVASIR_TRY(services_.resolve_model(engine.model));
  id_ = KVASIR_TRY(services_.calls.start(std::move(engine), std::move(command), shared_from_this()));
  if (paused_) services_.calls.pause(id_);  // the reader was behind before we began
  return {};
}

void ToolCall::settle(const Error& error, uint64_t retry_after_ms) {
  finished_ = true;
  if (!cancelled_) count("error");
  refuse(error, error.code == Code::kBusy ? retry_after_ms : 0);
}

void ToolCall::final(const Event& event) {
  if (const auto* result = std::get_if<GenerateResult>(&event)) services_.metrics.generated(*result);
  if (step_) return end_step(event);
  if (ticket_) return end_turn(event);
  const auto* failed = std::get_if<Failed>(&event);
  if (abort_reason_) return settle(*abort_reason_, 0);
  if (failed != nullptr) return settle(to_error(*failed), failed->retry_after_ms);
  finished_ = true;
  if (!cancelled_) count("ok");
  auto result = tool_.result(event);
  if (result) return answer(std::move(*result));
  log::error("tool_result_mismatch tool=" + tool_.name);
  refuse(result.error(), 0);
}

void ToolCall::cancel_in_engine() {
  stopped_ = true;
  services_.calls.cancel(id_);
}

void ToolCall::abort(Error error) {
  if (!abort_reason_) abort_reason_ = std::move(error);
  cancel_in_engine();
}

void ToolCall::on_cancel(rpc::CancelCause cause) {
  if (cancelled_) return;
  cancelled_ = true;
  if (finished_) return cancelled();  // the answer was only waiting to be sent
  unwanted_ = cause == rpc::CancelCause::kRequested;
  services_.metrics.cancelled(cause);
  count("cancelled");
  cancel_in_engine();
  cancelled();
}

void ToolCall::notify(std::string_view method, const Json& params) {
  reply_.notify(method, params);
  if (!paused_ && reply_.congested()) pause();
}

void ToolCall::pause() {
  paused_ = true;
  const uint64_t pause = ++pauses_;
  services_.calls.pause(id_);
  reply_.on_drained([self = weak<ToolCall>()] {
    if (auto call = self.lock()) call->drained();
  });
  services_.loop.after(services_.congested_limit, [self = weak<ToolCall>(), pause] {
    auto call = self.lock();
    if (!call || !call->paused_ || call->pauses_ != pause) return;
    call->services_.metrics.cancelled_slow_reader();
    call->abort({Code::kCancelled, "cancelled: the reader took none of the text for too long"});
  });
}

void ToolCall::drained() {
  if (!paused_) return;
  paused_ = false;
  services_.calls.resume(id_);
  resumed();
}

void ToolCall::count(std::string_view outcome) {
  const std::chrono::duration<double> seconds = services_.loop.now() - started_;
  services_.metrics.call_finished(tool_.name, transport_, outcome, seconds.count());
}

}  // namespace kvasir::mcp
