// What the connections of one server share: limits, counters, routes, who is let in. Owned by the server, outlives every
// connection; io thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "rpc/net/access_policy.h"
#include "rpc/net/http.h"
#include "rpc/net/reactor.h"
#include "rpc/peer.h"

namespace kvasir::rpc {

struct Route {
  HttpHandler handler;                 ///< empty: WebSocket only
  Service* websocket_service = nullptr;
  std::string subprotocol;
};

struct ServerContext {
  std::shared_ptr<PeerGroup> group = std::make_shared<PeerGroup>();
  std::map<std::string, Route, std::less<>> routes;
  std::optional<AccessPolicy> policy;  ///< set by listen()
  bool stopping = false;
  Reactor reactor;                     ///< last: tasks that wait in it may refer to the rest

  const Limits& limits() const { return group->limits; }
  void count_refused() { group->refused.fetch_add(1, std::memory_order_relaxed); }
};

}  // namespace kvasir::rpc
