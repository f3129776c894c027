#include "mcp/tool_call.h"

#include <utility>
#include <variant>

#include "core/base/log.h"
#include "mcp/error_mapping.h"

namespace kvasir::mcp {

ToolCall::ToolCall(const CallServices& services, const Tool& tool, rpc::Transport transport, rpc::Responder reply)
    : services_(services),
      tool_(tool),
      transport_(transport),
      reply_(std::move(reply)),
      started_(services.loop.now()) {}

void ToolCall::start(EngineKey engine, CommandBody command) {
  if (services_.resolve_model) {
    auto path = services_.resolve_model(engine.model);
    if (!path) {
      count("error");
      return refuse(path.error(), 0);
    }
    engine.model = std::move(*path);
  }
  const auto id = services_.calls.start(std::move(engine), std::move(command), shared_from_this());
  if (!id) {
    count("error");
    return refuse(id.error(), kDefaultRetryAfterMs);
  }
  id_ = *id;
  if (paused_) services_.calls.pause(id_);  // the reader was behind before we began
  reply_.on_cancel([self = weak<ToolCall>()](rpc::CancelCause cause) {
    if (auto call = self.lock()) call->on_cancel(cause);
  });
}

void ToolCall::final(const Event& event) {
  finished_ = true;
  if (const auto* result = std::get_if<GenerateResult>(&event)) services_.metrics.generated(*result);
  const auto* failed = std::get_if<Failed>(&event);
  if (!cancelled_) count(failed != nullptr || abort_reason_ ? "error" : "ok");
  if (abort_reason_) return refuse(*abort_reason_, 0);
  if (failed != nullptr) return refuse(to_error(*failed), failed->retry_after_ms);
  auto result = tool_.result(event);
  if (result) return answer(std::move(*result));
  log::error("tool_result_mismatch tool=" + tool_.name);
  refuse(result.error(), 0);
}

void ToolCall::abort(Error error) {
  if (!abort_reason_) abort_reason_ = std::move(error);
  cancel_in_engine();
}

void ToolCall::on_cancel(rpc::CancelCause cause) {
  if (cancelled_) return;
  cancelled_ = true;
  if (finished_) return cancelled();  // the answer was only waiting to be sent
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
