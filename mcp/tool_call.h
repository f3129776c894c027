// One running tool call, whatever the protocol: sends the command, pauses the engine for a slow reader, hands back the
// result. The two protocols derive from it and say how answers look. Kept alive by EngineCalls until the engine's final
// event; everything else holds it weakly. io thread.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "mcp/engine_calls.h"
#include "mcp/event_loop.h"
#include "mcp/metrics.h"
#include "mcp/tools/tool.h"
#include "rpc/service.h"

namespace kvasir::mcp {

/// What calls need from the host. Outlives them.
struct CallServices {
  EngineCalls& calls;
  EventLoop& loop;
  Metrics& metrics;
  std::function<Result<std::string>(const std::string& name)> resolve_model;
  std::chrono::milliseconds untimed_call_limit;
  std::chrono::milliseconds congested_limit;
};

class ToolCall : public EngineCall, public std::enable_shared_from_this<ToolCall> {
 public:
  ToolCall(const CallServices& services, const Tool& tool, rpc::Transport transport, rpc::Responder reply);

  /// Sends the command, or answers why not. Call once, on an object owned by a shared_ptr.
  void start(EngineKey engine, CommandBody command);
  void final(const Event& event) final;

 protected:
  /// The structured result. Answers (now or a moment later).
  virtual void answer(Json result) = 0;
  virtual void refuse(const Error& error, uint64_t retry_after_ms) = 0;
  /// The caller wants no more, or is gone; the engine was told already.
  virtual void cancelled() = 0;
  /// The congestion is over: what was held back may go.
  virtual void resumed() {}

  /// Sends a notification of this call; pauses the engine when the reader is behind.
  void notify(std::string_view method, const Json& params);
  bool held_back() const noexcept { return paused_; }
  /// Ends the call from our side; the engine's final event then brings `error` to the caller.
  void abort(Error error);
  void cancel_in_engine() { services_.calls.cancel(id_); }
  template <class T>
  std::weak_ptr<T> weak() {
    return std::static_pointer_cast<T>(shared_from_this());
  }

  const CallServices& services_;
  const Tool& tool_;
  const rpc::Transport transport_;
  rpc::Responder reply_;

 private:
  void on_cancel(rpc::CancelCause cause);
  void pause();
  void drained();
  void count(std::string_view outcome);

  GenerationId id_ = 0;
  TimePoint started_;
  bool paused_ = false;
  uint64_t pauses_ = 0;  ///< tells one congestion from the next
  bool cancelled_ = false, finished_ = false;
  std::optional<Error> abort_reason_;
};

}  // namespace kvasir::mcp
