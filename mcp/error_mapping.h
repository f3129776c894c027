// The one table from kvasir::Code to the wire: JSON-RPC code and HTTP status for plain calls, `isError` results for MCP
// tools (decisions.md 25). Pure.
#pragma once

#include <cstdint>
#include <string>

#include "core/base/result.h"
#include "core/engine/messages.h"
#include "rpc/message.h"

namespace kvasir::mcp {

struct WireError {
  rpc::RpcError error;
  int http_status = 200;
};

/// For plain JSON-RPC. `data` carries the code's name and, when busy, retryAfterMs.
WireError to_wire(const Error& error, uint64_t retry_after_ms = 0);
Error to_error(const Failed& failed);

/// A tools/call result with isError: one text block that a model can act on, and the same facts under
/// _meta["dev.kvasir/error"] for programs.
rpc::Json tool_error_result(const Error& error, uint64_t retry_after_ms = 0);

/// What a busy engine answers when it gives no time itself.
inline constexpr uint64_t kDefaultRetryAfterMs = 1000;

}  // namespace kvasir::mcp
