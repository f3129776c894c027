#include "rpc/net/ws_handshake.h"

#include <algorithm>
#include <vector>

#include "rpc/net/http_text.h"
#include "rpc/net/ws_codec.h"

namespace kvasir::rpc {
namespace {

constexpr size_t kMaxSubprotocols = 16;

WsHandshake refuse(int status, std::string_view reason, HeaderList headers = {}) { return {status, reason, std::move(headers)}; }

}  // namespace

bool is_websocket_attempt(const HttpHead& head) {
  return has_list_item(head.headers, "upgrade", "websocket") || head.headers.contains("sec-websocket-key") ||
         head.headers.contains("sec-websocket-version");
}

WsHandshake check_handshake(const HttpHead& head, std::string_view subprotocol) {
  if (head.method != "GET") return refuse(405, "a WebSocket opens with GET", {{"allow", "GET"}});
  if (head.http10) return refuse(400, "a WebSocket needs HTTP/1.1");
  if (head.has_body()) return refuse(400, "a WebSocket handshake has no body");
  if (!has_list_item(head.headers, "upgrade", "websocket")) return refuse(400, "Upgrade: websocket is missing");
  if (!has_list_item(head.headers, "connection", "upgrade")) return refuse(400, "Connection: Upgrade is missing");
  if (head.header("sec-websocket-version") != "13") {
    return refuse(426, "only WebSocket version 13 is spoken here", {{"sec-websocket-version", "13"}, {"upgrade", "websocket"}});
  }
  const std::string accept = ws::accept_value(head.header("sec-websocket-key"));
  if (accept.empty()) return refuse(400, "Sec-WebSocket-Key must be 16 bytes in base64");
  WsHandshake out;
  out.headers = {{"upgrade", "websocket"}, {"connection", "Upgrade"}, {"sec-websocket-accept", accept}};
  std::vector<std::string_view> offered;
  const auto [begin, end] = head.headers.equal_range("sec-websocket-protocol");
  for (auto it = begin; it != end; ++it) {
    for (const auto item : list_items(it->second)) offered.push_back(item);
  }
  if (offered.size() > kMaxSubprotocols) return refuse(400, "too many subprotocols");
  if (subprotocol.empty() || offered.empty()) return out;
  if (std::find(offered.begin(), offered.end(), subprotocol) == offered.end()) {
    return refuse(400, "none of the offered subprotocols is spoken at this path");
  }
  out.headers.emplace_back("sec-websocket-protocol", subprotocol);
  return out;
}

}  // namespace kvasir::rpc
