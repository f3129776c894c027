// A server on a free port with the fake services, run by its own thread, stopped and joined at the end.
#pragma once

#include <catch2/catch.hpp>
#include <functional>
#include <thread>

#include "rpc/net/server.h"
#include "tests/net/fake_service.h"
#include "tests/net/raw_client.h"

namespace kvasir::test {

class ServerFixture {
 public:
  explicit ServerFixture(const rpc::Limits& limits = {}, rpc::ListenOptions options = {})
      : server(rpc::Server::create(limits)), plain(*server), mcp(*server, FakeService::mcp_rules()) {
    server->route_rpc_post("/rpc", plain);
    server->route_websocket("/rpc", "", plain);
    server->route_websocket("/mcp", "mcp", mcp);
    server->route("/livez", [](rpc::HttpRequest request, std::shared_ptr<rpc::HttpExchange> exchange) {
      if (request.method != "GET" && request.method != "HEAD") return exchange->respond(405, {{"allow", "GET"}}, {});
      exchange->respond(200, {{"content-type", "text/plain"}}, "ok\n");
    });
    server->route("/drop", [](rpc::HttpRequest, std::shared_ptr<rpc::HttpExchange>) {});
    options.port = 0;
    const auto bound = server->listen(options);
    REQUIRE(bound);
    port = *bound;
    thread = std::thread([this] { server->run(); });
  }
  ~ServerFixture() {
    server->stop();
    if (thread.joinable()) thread.join();
  }

  RawClient client(int receive_buffer = 0) const { return RawClient(port, receive_buffer); }
  /// Sends one request on its own connection and reads one answer.
  HttpAnswer ask(std::string_view request) const {
    RawClient one(port);
    one.send(request);
    return one.read_answer();
  }
  /// A plain good request is still answered.
  bool healthy() const { return ask(get("/livez")).status == 200; }

  std::unique_ptr<rpc::Server> server;
  FakeService plain;
  FakeService mcp;
  uint16_t port = 0;
  std::thread thread;
};

/// Waits until it is true; a deadline, not a delay.
inline bool eventually(const std::function<bool()>& condition, std::chrono::milliseconds limit = 5s) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

}  // namespace kvasir::test
