// Plain JSON-RPC calls of session tools on a host with a fake engine, whose tokens are bytes.
#pragma once

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <utility>

#include "tests/transcripts/host_fixture.h"

namespace kvasir::test {

using rpc::Json;

struct SessionFixture : HostFixture {
  explicit SessionFixture(FakeEngineOptions options = {}, mcp::HostOptions host_options = {})
      : HostFixture(options, std::move(host_options)), connection(server.connect(host->json_rpc_service())) {}

  void send(int id, const std::string& method, const Json& params) {
    connection->receive(rpc::dump(Json{{"jsonrpc", "2.0"}, {"id", id}, {"method", method}, {"params", params}}));
    server.settle();
  }
  Json take() {
    server.advance(std::chrono::milliseconds(1000));
    return front();
  }
  Json front() {
    REQUIRE_FALSE(connection->sent.empty());
    Json message = Json::parse(connection->sent.front());
    connection->sent.pop_front();
    return message;
  }
  /// Answered without time going on: what runs has not moved.
  Json at_once(const std::string& method, const Json& params) {
    send(next_id++, method, params);
    const Json message = front();
    INFO(message.dump());
    REQUIRE(message.contains("result"));
    return message["result"];
  }
  Json ask(const std::string& method, const Json& params) {
    send(next_id++, method, params);
    return take();
  }
  Json result(const std::string& method, const Json& params) {
    Json message = ask(method, params);
    INFO(message.dump());
    REQUIRE(message.contains("result"));
    return message["result"];
  }
  int error(const std::string& method, const Json& params) {
    const Json message = ask(method, params);
    INFO(message.dump());
    REQUIRE(message.contains("error"));
    return message["error"]["code"].get<int>();
  }
  std::string create(const Json& params = Json::object()) { return result("create_session", params)["session_id"]; }
  Json say(const std::string& id, const std::string& text) {
    return result("generate_text", {{"session_id", id}, {"prompt", text}, {"max_tokens", 2}});
  }

  std::unique_ptr<MemoryConnection> connection;
  int next_id = 100;
};

}  // namespace kvasir::test
