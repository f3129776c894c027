// JSON-RPC 2.0 messages as checked values. Source: jsonrpc.org specification; MCP differences in protocol.md §9.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "rpc/json.h"

namespace kvasir::rpc {

/// A request id with its exact JSON text, so that it is echoed without rounding: `1`, `"1"`, `1.0`, `null`.
struct MessageId {
  enum class Kind : uint8_t { kAbsent, kNull, kNumber, kString } kind = Kind::kAbsent;
  std::string text;  ///< raw JSON text; empty if absent
  bool operator==(const MessageId&) const = default;
  bool present() const noexcept { return kind != Kind::kAbsent; }
};

struct RpcError {
  int code = 0;
  std::string message;
  std::optional<Json> data;
};

/// A request (id present) or notification (id absent), already checked for shape.
struct Request {
  MessageId id;
  std::string method;
  std::optional<Json> params;  ///< object or array
};

// Codes: JSON-RPC 2.0 §5.1, MCP 2026-07-28, and our own outside the reserved range (reliability.md C1-5, decisions 25).
inline constexpr int kParseError = -32700, kInvalidRequest = -32600, kMethodNotFound = -32601, kInvalidParams = -32602,
                     kInternalError = -32603;
inline constexpr int kHeaderMismatch = -32020, kMissingCapability = -32021, kUnsupportedVersion = -32022;
inline constexpr int kOverloaded = -31001, kCancelledCode = -31002, kEngineRestarted = -31003, kNotDurable = -31004,
                     kConflictCode = -31005;

/// One-line JSON texts. Never throw: bytes that are not UTF-8 are replaced.
std::string dump(const Json& value);
std::string result_text(const MessageId& id, const Json& result);
/// An absent id is omitted if `omit_unknown_id` (MCP), else written as null (plain JSON-RPC).
std::string error_text(const MessageId& id, const RpcError& error, bool omit_unknown_id);
std::string notification_text(std::string_view method, const Json& params);

}  // namespace kvasir::rpc
