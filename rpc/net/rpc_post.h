// Plain JSON-RPC by POST (protocol.md §9): one body, one answer; as server-sent events if a request asks for
// `stream: true`. io thread.
#pragma once

#include "rpc/net/http.h"
#include "rpc/peer.h"

namespace kvasir::rpc {

/// A handler for Server::route(). `service` outlives it.
HttpHandler rpc_post_handler(std::shared_ptr<PeerGroup> group, Service& service);

}  // namespace kvasir::rpc
