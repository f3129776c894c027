// Legacy MCP sessions over HTTP (2025-03-26 to 2025-11-25): what `initialize` agreed on, and the requests in flight, by
// Mcp-Session-Id. Not model sessions. Bounded in number and age. Owned by the HTTP endpoint; io thread.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/clock.h"
#include "mcp/connection.h"
#include "mcp/http_reply.h"

namespace kvasir::mcp {

struct HttpSession {
  std::string id;         ///< 128 random bits, visible ASCII
  std::string principal;  ///< who opened it; nobody else may use it
  Connection connection;
  TimePoint used;
  std::map<std::string, std::weak_ptr<HttpReply>> in_flight;  ///< by the id's JSON text
};

class HttpSessions {
 public:
  HttpSessions(size_t max_sessions, std::chrono::seconds ttl) : max_sessions_(max_sessions), ttl_(ttl) {}

  /// A session that is not in the table yet: it enters with add() when its handshake succeeded.
  std::shared_ptr<HttpSession> make(std::string principal, EngineKey engine, TimePoint now) const;
  /// Room for one more, if need be by dropping the session that was idle longest. False: all are busy.
  bool make_room(TimePoint now);
  void add(std::shared_ptr<HttpSession> session);
  /// Unknown, expired and foreign ids are the same: null.
  std::shared_ptr<HttpSession> find(std::string_view id, std::string_view principal, TimePoint now);
  void remove(std::string_view id);
  size_t size() const noexcept { return sessions_.size(); }

 private:
  void expire(TimePoint now);

  size_t max_sessions_;
  std::chrono::seconds ttl_;
  // Shared: a reply that is being written outlives a DELETE of its session.
  std::map<std::string, std::shared_ptr<HttpSession>, std::less<>> sessions_;
};

}  // namespace kvasir::mcp
