// A tools/call in progress: progress notifications with the text as it comes, then one result in the shape of the
// caller's version. After a cancel nothing more is sent. io thread.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "mcp/dialect.h"
#include "mcp/progress.h"
#include "mcp/tool_call.h"

namespace kvasir::mcp {

class McpCall final : public ToolCall {
 public:
  McpCall(const CallServices& services, const Tool& tool, const Dialect& dialect, RequestContext context,
          std::string principal, rpc::Responder reply);

  /// Applies the time limit of calls that nobody watches, then starts.
  void run(EngineKey engine, ToolRequest request);
  /// An answer without the engine: a bad argument.
  void refuse(const Error& error, uint64_t retry_after_ms) override;

  void progress(const Progress& progress) override;
  void delta(const TextDelta& delta) override;

 private:
  void answer(Json result) override;
  void cancelled() override;
  void resumed() override { pump(false); }

  void limit_time(CommandBody& command);
  void pump(bool last);
  void arm_heartbeat();
  void send_result(const Json& result);

  const Dialect& dialect_;
  const RequestContext context_;
  std::optional<ProgressMeter> meter_;
  bool flush_armed_ = false;
  bool out_of_time_ = false;
};

}  // namespace kvasir::mcp
