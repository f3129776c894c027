// What one connection (stdio, WebSocket) or one legacy MCP session over HTTP carries from message to message. Owned by
// the transport through rpc::ConnectionState; io thread.
#pragma once

#include <memory>
#include <string>

#include "core/engine/messages.h"
#include "rpc/service.h"

namespace kvasir::mcp {

struct Connection final : rpc::ConnectionState {
  explicit Connection(EngineKey key) : engine(std::move(key)) {}
  EngineKey engine;            ///< model and options of this connection (decisions.md 2); the model is still a name
  std::string legacy_version;  ///< negotiated by initialize; empty before
};

/// A connection's state: the engine that its front end asked for in its greeting (checked by the host's gate before),
/// else `fallback`.
std::unique_ptr<rpc::ConnectionState> make_connection(const rpc::CallInfo& info, const EngineKey& fallback);

}  // namespace kvasir::mcp
