// The tools as plain JSON-RPC methods: arguments are params (by name or position), the result is the structured result;
// with `stream: true` notifications generate_text/delta {id, text, index} come before it. A cancelled generate_text
// still answers, with finish_reason "cancelled" and the text so far. One object for all connections; io thread.
#pragma once

#include <memory>

#include "mcp/connection.h"
#include "mcp/tool_call.h"
#include "mcp/tools/tool.h"
#include "rpc/router.h"

namespace kvasir::mcp {

class JsonRpcService final : public rpc::Service {
 public:
  /// Borrows `services` and `tools`, which must outlive it.
  JsonRpcService(const CallServices& services, const ToolSet& tools, EngineKey default_engine);

  Rules rules() const override { return router_.rules(); }
  std::unique_ptr<rpc::ConnectionState> connect(const rpc::CallInfo& info) override;
  void call(rpc::Request request, const rpc::CallInfo& info, rpc::Responder reply) override;
  /// Our methods do nothing but answer, so a call without an answer is not run (nothing could cancel it either).
  void notification(rpc::Request, const rpc::CallInfo&) override {}
  bool accepts_batch(const Json& array, const rpc::CallInfo& info) override;

 private:
  void run(const Tool& tool, const rpc::CallInfo& info, const Json& params, const rpc::MessageId& id,
           rpc::Responder reply);

  const CallServices& services_;
  EngineKey default_engine_;
  rpc::Router router_;
};

}  // namespace kvasir::mcp
