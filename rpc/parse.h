// Untrusted text to checked messages: limits are enforced by a SAX pass before any DOM grows. Thread-safe (pure).
#pragma once

#include <functional>
#include <string_view>
#include <variant>
#include <vector>

#include "core/base/result.h"
#include "rpc/limits.h"
#include "rpc/message.h"
#include "rpc/service.h"

namespace kvasir::rpc {

/// Strict RFC 8259 JSON: UTF-8 only, no BOM, no NUL, no trailing text; depth, values and number text bounded; duplicate
/// keys refused unless `allow_duplicate_keys` (then the last one counts). Errors: kInvalidArgument "not JSON: ... at
/// byte N" (answer -32700; also for nesting and number text over their limits, reliability.md J1, J5), kTooLarge with
/// the limit's name (answer -32600), kConflict for a duplicate key (answer -32600).
Result<Json> parse_json(std::string_view text, const Limits& limits, bool allow_duplicate_keys = false);

/// A response object sent by the client (legacy MCP); counted and ignored.
struct IncomingResponse {};
/// A message that must be answered with an error: `error_text(id, error, ...)`.
struct BadMessage {
  MessageId id;
  RpcError error;
};
using Incoming = std::variant<Request, IncomingResponse, BadMessage>;

struct ParsedText {
  bool is_batch = false;
  bool batch_refused = false;     ///< the array itself is not accepted: answer the one BadMessage in `messages`
  std::vector<Incoming> messages;
};

/// One text (line, frame, body) to messages, by the rules of a service. `accepts_batch` is asked for arrays. A plain
/// JSON-RPC notification whose params are no object or array is left out: nothing may answer it.
ParsedText parse_text(std::string_view text, const Limits& limits, const Service::Rules& rules,
                      const std::function<bool(const Json&)>& accepts_batch);

}  // namespace kvasir::rpc
