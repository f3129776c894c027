// One question at a time to an engine in this process, for the commands that answer and end. Waits on the main thread;
// Ctrl-C cancels the question.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "core/engine/engine.h"
#include "mcp/app/context.h"
#include "mcp/tools/tool.h"

namespace kvasir::app {

class EngineClient {
 public:
  /// Starts an engine pool with the backends of this build. `packed_weights`: as of make_engine_pool().
  explicit EngineClient(Interrupt& interrupt, std::string packed_weights = {});
  ~EngineClient();
  EngineClient(const EngineClient&) = delete;
  EngineClient& operator=(const EngineClient&) = delete;

  /// Sends the command and returns its final event. `on_event` sees Progress and TextDelta. After Ctrl-C the command is
  /// cancelled and its final event (perhaps a partial result) returned.
  /// Errors: what Failed says; kBusy if the engine takes no more.
  Result<Event> ask(const EngineKey& engine, CommandBody body, const std::function<void(const Event&)>& on_event);

  /// A tool of mcp/tools by name with JSON arguments: the same checks and the same result as over the wire.
  Result<rpc::Json> call_tool(const EngineKey& engine, std::string_view name, const rpc::Json& arguments,
                              const std::function<void(const Event&)>& on_event);

 private:
  std::unique_ptr<Engine> engine_;
  mcp::ToolSet tools_;
  Interrupt& interrupt_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool woken_ = false;  // guarded by mutex_
  GenerationId next_id_ = 1;
};

/// Shows loading on the console; for on_event.
void show_loading(Console& console, const Event& event);

}  // namespace kvasir::app
