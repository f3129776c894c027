// MCP as an rpc::Service: chooses the era per message, lists the tools, runs them. Handshakes and lists never touch the
// engine. One object for all connections; io thread.
#pragma once

#include <memory>
#include <string>

#include "mcp/dialect.h"
#include "mcp/tool_call.h"
#include "mcp/tools/tool.h"
#include "rpc/service.h"

namespace kvasir::mcp {

class McpServer final : public rpc::Service {
 public:
  /// Borrows `services` and `tools`, which must outlive it.
  McpServer(const CallServices& services, const ToolSet& tools, EngineKey default_engine, std::string version);

  Rules rules() const override;
  std::unique_ptr<rpc::ConnectionState> connect(const rpc::CallInfo& info) override;
  void call(rpc::Request request, const rpc::CallInfo& info, rpc::Responder reply) override;
  void notification(rpc::Request, const rpc::CallInfo&) override {}  // initialized and the like change nothing here
  bool accepts_batch(const Json& array, const rpc::CallInfo& info) override;

  /// For the HTTP endpoint, which has chosen the era already.
  void dispatch(Era era, const rpc::Request& request, const rpc::CallInfo& info, rpc::Responder reply);

 private:
  void list_tools(const rpc::Request& request, const RequestContext& context, rpc::Responder reply);
  void call_tool(const rpc::Request& request, const rpc::CallInfo& info, const RequestContext& context,
                 rpc::Responder reply);
  const Dialect& dialect(Era era) const { return era == Era::kModern ? *modern_ : *legacy_; }

  const CallServices& services_;
  const ToolSet& tools_;
  EngineKey default_engine_;
  std::unique_ptr<Dialect> legacy_, modern_;
};

/// A tool as tools/list shows it to a client of `version`.
Json tool_definition(const Tool& tool, const RequestContext& context);
/// The state that a connection of ours hangs on `info`, or null.
Connection* connection_of(const rpc::CallInfo& info);

}  // namespace kvasir::mcp
