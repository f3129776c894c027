#include "mcp/connection.h"

#include "mcp/greeting.h"

namespace kvasir::mcp {

std::unique_ptr<rpc::ConnectionState> make_connection(const rpc::CallInfo& info, const EngineKey& fallback) {
  if (info.greeting != nullptr) {
    if (auto greeting = read_greeting(*info.greeting)) return std::make_unique<Connection>(std::move(greeting->engine));
  }
  return std::make_unique<Connection>(fallback);
}

}  // namespace kvasir::mcp
