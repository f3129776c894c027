#include "rpc/net/access_policy.h"

#include <arpa/inet.h>

#include <algorithm>

#include "rpc/net/http_text.h"
#include "rpc/net/ws_codec.h"

namespace kvasir::rpc {
namespace {

constexpr std::string_view kTokenProtocol = "mcp.auth.";
constexpr size_t kPrincipalHexDigits = 32;

/// Host without its port; an IPv6 literal keeps its brackets. Empty if malformed.
std::string_view without_port(std::string_view host) {
  size_t end = host.find(':');
  if (host.starts_with('[')) {
    const size_t bracket = host.find(']');
    if (bracket == std::string_view::npos) return {};
    end = bracket + 1;
  }
  if (end >= host.size()) return host;
  const std::string_view port = host.substr(end + 1);
  const bool digits = host[end] == ':' && !port.empty() && port.size() <= 5 &&
                      std::all_of(port.begin(), port.end(), [](char c) { return c >= '0' && c <= '9'; });
  return digits ? host.substr(0, end) : std::string_view();
}

bool is_loopback_name(std::string_view name) { return name == "localhost" || name == "127.0.0.1" || name == "[::1]"; }

bool is_address(std::string name) {
  unsigned char buffer[sizeof(in6_addr)];
  if (name.size() > 2 && name.front() == '[' && name.back() == ']') {
    return inet_pton(AF_INET6, name.substr(1, name.size() - 2).c_str(), buffer) == 1;
  }
  return inet_pton(AF_INET, name.c_str(), buffer) == 1;
}

std::string hex(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    out += kDigits[static_cast<unsigned char>(c) >> 4];
    out += kDigits[static_cast<unsigned char>(c) & 0xF];
  }
  return out;
}

/// The credential that a request shows, or nothing.
std::optional<std::string_view> shown_token(const HttpHead& head) {
  const std::string_view header = head.header("authorization");
  constexpr size_t kSchemeBytes = 7;
  if (lower(header.substr(0, kSchemeBytes)) == "bearer ") return trim(header.substr(kSchemeBytes));
  if (!header.empty() || !head.headers.contains("sec-websocket-key")) return std::nullopt;
  const auto [begin, end] = head.headers.equal_range("sec-websocket-protocol");
  for (auto it = begin; it != end; ++it) {
    for (const std::string_view item : list_items(it->second)) {
      if (item.starts_with(kTokenProtocol)) return item.substr(kTokenProtocol.size());
    }
  }
  return std::nullopt;
}

bool has_token_parameter(std::string_view query) {
  return query.starts_with("access_token=") || query.find("&access_token=") != std::string_view::npos ||
         query.starts_with("token=") || query.find("&token=") != std::string_view::npos;
}

}  // namespace

bool is_loopback_host(std::string_view host) {
  const std::string name = lower(host);
  if (name == "localhost" || name == "::1" || name == "[::1]") return true;
  in_addr address{};
  return inet_pton(AF_INET, name.c_str(), &address) == 1 && (ntohl(address.s_addr) >> 24) == 127;
}

AccessPolicy::AccessPolicy(const ListenOptions& options) {
  for (const auto& host : options.allowed_hosts) hosts_.push_back(lower(host));
  const std::string bound = lower(options.host);
  hosts_.push_back(bound.find(':') != std::string::npos && !bound.starts_with('[') ? "[" + bound + "]" : bound);
  for (const auto& origin : options.allowed_origins) {
    if (origin == "*") any_origin_ = true;
    origins_.push_back(lower(origin));
  }
  any_address_ = !is_loopback_host(options.host);
  if (options.token.empty()) {
    principal_ = "local";
  } else {
    token_digest_ = ws::sha1(options.token);
    principal_ = "token:" + hex(ws::sha1("kvasir principal " + options.token)).substr(0, kPrincipalHexDigits);
  }
}

bool AccessPolicy::host_allowed(std::string_view host) const {
  const std::string full = lower(host);
  const std::string_view name = without_port(full);
  if (name.empty()) return false;
  if (is_loopback_name(name) || (any_address_ && is_address(std::string(name)))) return true;
  return std::any_of(hosts_.begin(), hosts_.end(), [&](const std::string& allowed) { return allowed == name || allowed == full; });
}

bool AccessPolicy::cors_allowed(std::string_view origin) const {
  return any_origin_ || std::find(origins_.begin(), origins_.end(), lower(origin)) != origins_.end();
}

bool AccessPolicy::origin_allowed(std::string_view origin, std::string_view host) const {
  if (cors_allowed(origin)) return true;
  const std::string text = lower(origin);
  std::string_view rest = text;
  if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
  } else if (rest.starts_with("https://")) {
    rest.remove_prefix(8);
  } else {
    return false;
  }
  return rest == lower(host) || is_loopback_name(without_port(rest));
}

std::optional<AccessPolicy::Refusal> AccessPolicy::check_origin(const HttpHead& head) const {
  const std::string_view host = head.header("host");
  if (!host_allowed(host)) return Refusal{403, "this Host is not allowed; see --allow-host"};
  const auto origin = head.headers.find("origin");
  if (origin != head.headers.end() && !origin_allowed(origin->second, host)) {
    return Refusal{403, "this Origin is not allowed; see --allow-origin"};
  }
  return std::nullopt;
}

AccessPolicy::Identity AccessPolicy::authenticate(const HttpHead& head) const {
  if (token_digest_.empty()) return {principal_, std::nullopt};
  if (has_token_parameter(head.query)) {
    return {{}, Refusal{400, "a token belongs into the Authorization header, not into the address"}};
  }
  const auto token = shown_token(head);
  // Digests, so that neither content nor length of the token shows in the time this takes.
  if (token && equal_constant_time(ws::sha1(*token), token_digest_)) return {principal_, std::nullopt};
  return {{}, Refusal{401, token ? "the bearer token is wrong" : "a bearer token is needed: Authorization: Bearer TOKEN"}};
}

}  // namespace kvasir::rpc
