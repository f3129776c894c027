// The opening handshake of RFC 6455 §4.2, from a request head that passed the HTTP checks. Pure; thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "rpc/net/http.h"
#include "rpc/net/http_parser.h"

namespace kvasir::rpc {

/// The client means a WebSocket, rightly or not. Other upgrades (h2c) may be ignored, as HTTP allows.
bool is_websocket_attempt(const HttpHead& head);

struct WsHandshake {
  int status = 101;         ///< else the refusal
  std::string_view reason;  ///< of a literal
  HeaderList headers;       ///< of the answer
};
/// `subprotocol`: chosen when offered; when others are offered but not this one, the handshake is refused. Empty: none
/// is chosen.
WsHandshake check_handshake(const HttpHead& head, std::string_view subprotocol);

}  // namespace kvasir::rpc
