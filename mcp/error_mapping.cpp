#include "mcp/error_mapping.h"

namespace kvasir::mcp {
namespace {

struct Row {
  int rpc;
  int http;
};

/// -32602 for what the caller can change in the call, our own codes (outside -32768..-32000) for what passes, -32603
/// for the rest. A result that was asked for and cannot be is an answer: HTTP 200, except where a proxy should know.
Row row(Code code) noexcept {
  switch (code) {
    case Code::kInvalidArgument:
    case Code::kNotFound:
    case Code::kTooLarge:
    case Code::kUnsupported:
      return {rpc::kInvalidParams, 200};
    case Code::kBusy:
      return {rpc::kOverloaded, 503};
    case Code::kCancelled:
    case Code::kDeadline:
      return {rpc::kCancelledCode, 200};
    case Code::kConflict:
      return {rpc::kConflictCode, 200};
    case Code::kUnavailable:
      return {rpc::kInternalError, 503};
    case Code::kCorrupt:
    case Code::kIo:
    case Code::kBackend:
    case Code::kInternal:
      return {rpc::kInternalError, 200};
  }
  return {rpc::kInternalError, 200};
}

rpc::Json facts(Code code, uint64_t retry_after_ms) {
  rpc::Json data{{"code", code_name(code)}};
  if (code == Code::kBusy) data["retryAfterMs"] = retry_after_ms > 0 ? retry_after_ms : kDefaultRetryAfterMs;
  return data;
}

}  // namespace

WireError to_wire(const Error& error, uint64_t retry_after_ms) {
  const Row wire = row(error.code);
  return {{wire.rpc, error.message, facts(error.code, retry_after_ms)}, wire.http};
}

Error to_error(const Failed& failed) {
  return {failed.code, failed.message};
}

rpc::Json tool_error_result(const Error& error, uint64_t retry_after_ms) {
  rpc::Json data = facts(error.code, retry_after_ms);
  std::string text = error.message.empty() ? std::string(code_name(error.code)) : error.message;
  if (error.code == Code::kBusy)
    text += " (try again in " + std::to_string(data["retryAfterMs"].get<uint64_t>()) + " ms)";
  rpc::Json block{{"type", "text"}, {"text", std::move(text)}};
  rpc::Json result{{"content", rpc::Json::array({std::move(block)})}, {"isError", true}};
  result["_meta"]["dev.kvasir/error"] = std::move(data);
  return result;
}

}  // namespace kvasir::mcp
