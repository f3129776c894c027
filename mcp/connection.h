// What one connection (stdio, WebSocket) or one legacy MCP session over HTTP carries from message to message. Owned by
// the transport through rpc::ConnectionState; io thread.
#pragma once

#include <string>

#include "core/engine/messages.h"
#include "rpc/service.h"

namespace kvasir::mcp {

struct Connection final : rpc::ConnectionState {
  explicit Connection(EngineKey key) : engine(std::move(key)) {}
  EngineKey engine;            ///< model and options of this connection (decisions.md 2); the model is still a name
  std::string legacy_version;  ///< negotiated by initialize; empty before
};

}  // namespace kvasir::mcp
