// One running tool call, whatever the protocol: asks the sessions, sends the command, pauses the engine for a slow
// reader, stores the turn, hands back the result. The two protocols derive from it and say how answers look. Kept alive
// by whoever works for it: EngineCalls until the engine's final event, SessionService until its callback; everything
// else holds it weakly. io thread.
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
  SessionService& sessions;
  EventLoop& loop;
  Metrics& metrics;
  std::function<Result<std::string>(const std::string& name)> resolve_model;
  std::chrono::milliseconds untimed_call_limit;
  std::chrono::milliseconds congested_limit;
  uint32_t autosave_tokens;
};

class ToolCall : public EngineCall, public std::enable_shared_from_this<ToolCall> {
 public:
  ToolCall(const CallServices& services, const Tool& tool, rpc::Transport transport, std::string principal,
           rpc::Responder reply);

  /// Does what was asked, or answers why not. Call once, on an object owned by a shared_ptr.
  void start(EngineKey engine, ToolRequest request);
  void partial(const PartialResult& partial) final;
  bool closing() final;
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
  /// The engine works for a session tool: text that it makes is no answer.
  bool in_step() const noexcept { return step_.has_value(); }
  /// Ends the call from our side; the engine's final event then brings `error` to the caller.
  void abort(Error error);
  /// Stops the work; what comes of it still comes.
  void cancel_in_engine();
  template <class T>
  std::weak_ptr<T> weak() {
    return std::static_pointer_cast<T>(shared_from_this());
  }

  const CallServices& services_;
  const Tool& tool_;
  const rpc::Transport transport_;
  const std::string principal_;
  rpc::Responder reply_;

 private:
  // tool_call_session.cpp: what sessions have to do with it
  void run_session(const SessionWork& work);
  void on_session_step(Result<SessionStep> step);
  void end_step(const Event& event);
  void begin_turn(ToolRequest request);
  void on_ticket(ToolRequest request, Result<TurnTicket> ticket);
  void end_turn(const Event& event);
  void commit(const GenerateResult& result, Json answer);
  void leave_turn(const GenerateResult* result);
  void save_partial(const GenerateResult& so_far);
  bool compress_and_repeat(const Event& event);
  void end_steps(Json result);

  Result<void> send(CommandBody command);
  void settle(const Error& error, uint64_t retry_after_ms);
  void on_cancel(rpc::CancelCause cause);
  void pause();
  void drained();
  void count(std::string_view outcome);

  EngineKey engine_;
  std::optional<TurnTicket> ticket_;  ///< the session waits for this call
  std::optional<SessionStep> step_;   ///< done but for the engine's part
  std::optional<ToolRequest> again_;  ///< the turn to ask again once the session was compressed (overflow compress)
  std::optional<Json> compression_;   ///< the report, when it was
  GenerationId id_ = 0;
  bool stopped_ = false;  ///< wanted no more, perhaps before anything was sent
  TimePoint started_;
  bool paused_ = false;
  uint64_t pauses_ = 0;  ///< tells one congestion from the next
  bool unwanted_ = false;  ///< the caller took it back: nothing of it is kept
  bool saving_ = false;    ///< a partial answer is on its way to the disk
  bool cancelled_ = false, finished_ = false;
  std::optional<Error> abort_reason_;
};

}  // namespace kvasir::mcp
