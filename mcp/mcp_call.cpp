#include "mcp/mcp_call.h"

#include <utility>
#include <variant>

#include "mcp/error_mapping.h"

namespace kvasir::mcp {
namespace {

using std::chrono::milliseconds;
// What the engine gets beyond its own limit before we end the call, e.g. while a large model loads.
constexpr milliseconds kGrace{5000};

}  // namespace

McpCall::McpCall(const CallServices& services, const Tool& tool, const Dialect& dialect, RequestContext context,
                 std::string principal, rpc::Responder reply)
    : ToolCall(services, tool, context.transport, std::move(principal), std::move(reply)), dialect_(dialect), context_(std::move(context)) {}

void McpCall::run(EngineKey engine, ToolRequest request) {
  const auto* generate = std::get_if<Generate>(&request.command);
  if (context_.progress_token)
    meter_.emplace(*context_.progress_token, context_.since("2025-03-26"),
                   generate != nullptr ? generate->max_tokens : 0);
  limit_time(request.command);
  if (meter_) pump(false);
  start(std::move(engine), std::move(request));
  if (meter_ && reply_) arm_heartbeat();
}

void McpCall::limit_time(CommandBody& command) {
  auto* generate = std::get_if<Generate>(&command);
  const bool timed = generate != nullptr && generate->max_time_ms > 0;
  if (context_.progress_token || timed) return;
  auto limit = services_.untimed_call_limit;
  if (generate != nullptr) {
    generate->max_time_ms = static_cast<uint64_t>(limit.count());
    limit += kGrace;
  }
  services_.loop.after(limit, [self = weak<McpCall>()] {
    auto call = self.lock();
    if (!call) return;
    call->out_of_time_ = true;
    call->cancel_in_engine();
  });
}

void McpCall::progress(const Progress& progress) {
  if (!meter_ || !reply_) return;
  meter_->note(progress);
  pump(false);
}

void McpCall::delta(const TextDelta& delta) {
  if (!meter_ || !reply_ || in_step()) return;
  meter_->note(delta);
  pump(false);
}

void McpCall::pump(bool last) {
  if (!meter_ || !reply_ || (held_back() && !last)) return;
  if (auto params = meter_->due(services_.loop.now(), last)) notify("notifications/progress", *params);
  const auto wait = meter_->wait(services_.loop.now());
  if (last || flush_armed_ || wait > milliseconds{200}) return;  // longer waits belong to the heartbeat
  flush_armed_ = true;
  services_.loop.after(wait, [self = weak<McpCall>()] {
    auto call = self.lock();
    if (!call) return;
    call->flush_armed_ = false;
    call->pump(false);
  });
}

void McpCall::arm_heartbeat() {
  const auto wait = std::max(meter_->wait(services_.loop.now()), milliseconds{200});
  services_.loop.after(wait, [self = weak<McpCall>()] {
    auto call = self.lock();
    if (!call || !call->reply_) return;
    call->pump(false);
    call->arm_heartbeat();
  });
}

void McpCall::answer(Json result) {
  if (!reply_) return;
  if (out_of_time_ && result.contains("finish_reason") && result["finish_reason"] == "cancelled")
    result["finish_reason"] = "time_limit";
  pump(true);
  Json block{{"type", "text"}};
  block["text"] = tool_.text_is_answer ? result.value("text", std::string()) : rpc::dump(result);
  Json out{{"content", Json::array({std::move(block)})}};
  if (context_.since("2025-06-18")) out["structuredContent"] = std::move(result);
  out["isError"] = false;
  send_result(dialect_.complete(std::move(out), Caching::kNone));
}

void McpCall::refuse(const Error& error, uint64_t retry_after_ms) {
  if (!reply_) return;
  pump(true);
  Error shown = error;
  if (out_of_time_)
    shown = {Code::kDeadline, "not done within " + std::to_string(services_.untimed_call_limit.count() / 1000) +
                                  " s; call with a progressToken to allow more time"};
  send_result(dialect_.complete(tool_error_result(shown, retry_after_ms), Caching::kNone));
}

void McpCall::send_result(const Json& result) {
  if (!reply_) return;
  auto reply = std::move(reply_);
  reply.result(result);
}

void McpCall::cancelled() {
  if (!reply_) return;
  auto reply = std::move(reply_);
  reply.drop();
}

}  // namespace kvasir::mcp
