#include "rpc/net/access_policy.h"

#include <catch2/catch.hpp>

using namespace kvasir;
using namespace kvasir::rpc;

namespace {

HttpHead head(std::initializer_list<std::pair<const std::string, std::string>> headers) {
  HttpHead out;
  out.headers = headers;
  return out;
}

int origin_status(const AccessPolicy& policy, std::string host, std::string origin = "") {
  HttpHead h = head({{"host", std::move(host)}});
  if (!origin.empty()) h.headers.emplace("origin", origin);
  const auto refusal = policy.check_origin(h);
  return refusal ? refusal->status : 200;
}

int token_status(const AccessPolicy& policy, const HttpHead& h) {
  const auto identity = policy.authenticate(h);
  return identity.refusal ? identity.refusal->status : 200;
}

}  // namespace

TEST_CASE("access: loopback names with any port, and nothing that looks like them (H1-H3)") {
  const AccessPolicy policy{ListenOptions{}};
  for (const char* host : {"localhost", "localhost:8080", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:65535", "[::1]", "[::1]:8080"}) {
    INFO(host);
    CHECK(origin_status(policy, host) == 200);
  }
  for (const char* host : {"evil", "evil.example.com", "localhost.evil.com", "localhost.", "127.0.0.1.evil.com", "127.0.0.1:", "127.0.0.1:x", "[::1",
                           "[::1]x", "localhost:8080:80", "192.168.1.1", "0.0.0.0", "localhost@evil"}) {
    INFO(host);
    CHECK(origin_status(policy, host) == 403);
  }
  for (const char* origin : {"http://localhost", "http://localhost:3000", "https://127.0.0.1:1", "http://[::1]:9"}) {
    CHECK(origin_status(policy, "localhost", origin) == 200);
  }
  for (const char* origin : {"http://evil", "null", "http://localhost.evil.com", "https://localhost@evil", "file://", "localhost", "http://", "ftp://localhost"}) {
    INFO(origin);
    CHECK(origin_status(policy, "localhost", origin) == 403);
  }
}

TEST_CASE("access: hosts and origins that are allowed by name") {
  ListenOptions options;
  options.allowed_hosts = {"Box.lan", "other:81"};
  options.allowed_origins = {"https://app.example"};
  const AccessPolicy policy{options};
  CHECK(origin_status(policy, "box.LAN:8080") == 200);
  CHECK(origin_status(policy, "other:81") == 200);
  CHECK(origin_status(policy, "other:82") == 403);
  CHECK(origin_status(policy, "box.lan", "https://app.example") == 200);
  CHECK(origin_status(policy, "box.lan", "http://app.example") == 403);
  CHECK(origin_status(policy, "box.lan:8080", "http://box.lan:8080") == 200);  // our own pages
  CHECK(policy.cors_allowed("https://app.example"));
  CHECK_FALSE(policy.cors_allowed("http://localhost"));
}

TEST_CASE("access: off loopback an address is a legal Host, a foreign name is not") {
  ListenOptions options;
  options.host = "0.0.0.0";
  options.token = "t";
  const AccessPolicy policy{options};
  CHECK(origin_status(policy, "192.168.1.5:8080") == 200);
  CHECK(origin_status(policy, "[fe80::1]:8080") == 200);
  CHECK(origin_status(policy, "rebound.example") == 403);
  CHECK(is_loopback_host("127.0.0.2"));
  CHECK_FALSE(is_loopback_host("127.evil"));
  CHECK_FALSE(is_loopback_host("::"));
}

TEST_CASE("access: the token in each place it may and may not be (H4-H6, W17)") {
  ListenOptions options;
  options.token = "secret";
  const AccessPolicy policy{options};
  CHECK(token_status(policy, head({{"authorization", "Bearer secret"}})) == 200);
  CHECK(token_status(policy, head({{"authorization", "bearer  secret "}})) == 200);
  for (const char* value : {"Bearer secre", "Bearer secret2", "Bearer", "Bearer ", "secret", "Basic secret", "Bearer SECRET"}) {
    INFO(value);
    CHECK(token_status(policy, head({{"authorization", value}})) == 401);
  }
  CHECK(token_status(policy, head({})) == 401);
  CHECK(token_status(policy, head({{"sec-websocket-protocol", "mcp, mcp.auth.secret"}})) == 401);  // no WebSocket
  CHECK(token_status(policy, head({{"sec-websocket-key", "k"}, {"sec-websocket-protocol", "mcp, mcp.auth.secret"}})) == 200);
  CHECK(token_status(policy, head({{"sec-websocket-key", "k"}, {"sec-websocket-protocol", "mcp, mcp.auth.wrong"}})) == 401);
  HttpHead query = head({{"authorization", "Bearer secret"}});
  query.query = "x=1&access_token=secret";
  CHECK(token_status(policy, query) == 400);
  ListenOptions other;
  other.token = "other";
  CHECK(policy.authenticate(head({{"authorization", "Bearer secret"}})).principal != AccessPolicy{other}.authenticate(head({{"authorization", "Bearer other"}})).principal);
  CHECK(AccessPolicy{ListenOptions{}}.authenticate(head({})).principal == "local");
}
