// Who may talk to the listener: Host and Origin allow-lists against DNS rebinding and cross-site requests, and the bearer
// token (protocol.md §6.2, decisions 28). Pure, immutable after construction; thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rpc/net/http_parser.h"
#include "rpc/net/server.h"

namespace kvasir::rpc {

/// Is this listen address reachable from this machine only?
bool is_loopback_host(std::string_view host);

class AccessPolicy {
 public:
  explicit AccessPolicy(const ListenOptions& options);

  struct Refusal {
    int status = 403;
    std::string reason;
  };
  /// Host and Origin; nothing means allowed.
  std::optional<Refusal> check_origin(const HttpHead& head) const;
  /// The principal of the request, or the refusal (401, or 400 for a token in the query).
  struct Identity {
    std::string principal;
    std::optional<Refusal> refusal;
  };
  Identity authenticate(const HttpHead& head) const;
  /// Origins whose pages may read the answers; loopback ones are let in but not told so.
  bool cors_allowed(std::string_view origin) const;

 private:
  bool host_allowed(std::string_view host) const;
  bool origin_allowed(std::string_view origin, std::string_view host) const;

  std::vector<std::string> hosts_;
  std::vector<std::string> origins_;
  bool any_origin_ = false;
  bool any_address_ = false;   // bound off loopback: any IP literal is a legal Host, since rebinding needs a name
  std::string token_digest_;   // empty: no token is asked for
  std::string principal_;
};

}  // namespace kvasir::rpc
