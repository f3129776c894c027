// Streamable HTTP at /mcp, both eras. Modern (2026-07-28): one POST, one request, no state, a disconnect is the cancel.
// Legacy (2025-03-26 to 2025-11-25): sessions minted by `initialize`, cancel by a POST of its own, a disconnect cancels
// only after a grace period. What reaches it has passed syntax, size, Host, Origin and token checks. io thread.
//
//   POST    a message (or a batch, in 2025-03-26 sessions only)
//   GET     405: there is nothing that we would send unasked
//   DELETE  ends a legacy session
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "mcp/event_loop.h"
#include "mcp/http_reply.h"
#include "mcp/http_sessions.h"
#include "mcp/server.h"
#include "rpc/limits.h"
#include "rpc/net/http.h"
#include "rpc/parse.h"

namespace kvasir::mcp {

struct HttpEndpointOptions {
  EngineKey default_engine;
  rpc::Limits limits;
  size_t max_sessions = 1024;
  std::chrono::seconds session_ttl{12 * 3600};
  std::chrono::milliseconds disconnect_grace{5000};
};

class HttpEndpoint {
 public:
  HttpEndpoint(McpServer& server, EventLoop& loop, HttpEndpointOptions options);

  void handle(rpc::HttpRequest request, const std::shared_ptr<rpc::HttpExchange>& exchange);
  size_t sessions() const noexcept { return sessions_.size(); }

 private:
  struct Post;
  void handle_post(Post& post);
  void handle_delete(const rpc::HttpRequest& request, rpc::HttpExchange& exchange);
  void handle_request(Post& post, const rpc::Request& request);
  void run_modern(Post& post, const rpc::Request& request);
  void run_legacy(Post& post, const rpc::Request& request);
  void run_batch(Post& post, const std::vector<rpc::Incoming>& messages);
  void handle_notification(Post& post, const rpc::Request& notification);
  void cancel(HttpSession& session, const rpc::Request& notification);
  /// The session that the headers name, or an answer that says what is wrong with them.
  std::shared_ptr<HttpSession> require_session(Post& post, const rpc::MessageId& id);
  std::shared_ptr<HttpReply> make_reply(Post& post, const rpc::MessageId& id,
                                        const std::shared_ptr<HttpSession>& session);
  bool at_capacity(const HttpSession* session) const;

  McpServer& server_;
  EventLoop& loop_;
  HttpEndpointOptions options_;
  HttpSessions sessions_;
  // Shared with the replies, which may end after this object is gone.
  std::shared_ptr<uint32_t> in_flight_ = std::make_shared<uint32_t>(0);
};

}  // namespace kvasir::mcp
