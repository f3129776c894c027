// Short ways to say HTTP requests and to read their answers in tests.
#pragma once

#include <string>

#include "rpc/json.h"
#include "tests/transcripts/host_fixture.h"

namespace kvasir::test {

inline rpc::HttpRequest http_post(const std::string& body, rpc::HttpHeaders extra = {}) {
  rpc::HttpRequest out;
  out.method = "POST";
  out.path = "/mcp";
  out.body = body;
  out.principal = "local";
  out.headers = std::move(extra);
  if (!out.headers.contains("content-type")) out.headers.emplace("content-type", "application/json");
  if (!out.headers.contains("accept")) out.headers.emplace("accept", "application/json, text/event-stream");
  return out;
}

/// A modern request with the headers that repeat it.
inline rpc::HttpRequest modern_post(const std::string& id, const std::string& method, const std::string& members = "",
                                    const std::string& name = "", const std::string& more_meta = "") {
  std::string body = R"({"jsonrpc":"2.0","id":)" + id + R"(,"method":")" + method + R"(","params":{)";
  if (!members.empty()) body += members + ",";
  std::string meta = kMeta;
  if (!more_meta.empty()) meta.insert(meta.size() - 1, "," + more_meta);
  body += meta + "}}";
  rpc::HttpHeaders headers = {{"mcp-protocol-version", "2026-07-28"}, {"mcp-method", method}};
  if (!name.empty()) headers.emplace("mcp-name", name);
  return http_post(body, headers);
}

inline rpc::Json body_of(const MemoryExchange& exchange) {
  return rpc::Json::parse(exchange.body, nullptr, false);
}

/// Shakes hands; returns the session's id.
inline std::string open_session(HostFixture& fixture, const std::string& version = "2025-11-25",
                                const std::string& principal = "local") {
  auto request = http_post(R"({"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":")" + version +
                           R"(","capabilities":{},"clientInfo":{"name":"X","version":"1"}}})");
  request.principal = principal;
  return fixture.server.request(std::move(request))->header("Mcp-Session-Id");
}

inline rpc::HttpRequest session_post(const std::string& session, const std::string& body,
                                     const std::string& version = "2025-11-25") {
  return http_post(body, {{"mcp-session-id", session}, {"mcp-protocol-version", version}});
}

}  // namespace kvasir::test
