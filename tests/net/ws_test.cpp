// WebSockets over real sockets. W ids are those of the catalogue of bad inputs.
#include "rpc/json.h"
#include "tests/net/server_fixture.h"

using namespace kvasir;
using namespace kvasir::test;
using rpc::Json;

namespace {

std::string call(std::string_view method, std::string_view params = "{}", std::string_view id = "1") {
  return R"({"jsonrpc":"2.0","id":)" + std::string(id) + R"(,"method":")" + std::string(method) + R"(","params":)" + std::string(params) + "}";
}

/// The close code that bytes earn on a fresh WebSocket; 0 if none comes.
int close_code(const ServerFixture& server, const std::string& bytes, std::chrono::milliseconds limit = 5s) {
  auto client = server.client();
  REQUIRE(client.upgrade("/rpc"));
  client.send(bytes, limit);
  for (;;) {
    const WsFrame frame = client.read_frame(limit);
    if (frame.opcode == -1) return 0;
    if (frame.opcode == 8) return frame.close_code();
  }
}

std::string handshake(std::string_view headers, std::string_view first = "GET /mcp HTTP/1.1") {
  return std::string(first) + "\r\n" + std::string(headers) + "\r\n";
}

}  // namespace

TEST_CASE("ws: concurrent calls are answered out of order, each once") {
  const ServerFixture server;
  auto client = server.client();
  REQUIRE(client.upgrade("/rpc"));
  client.send_frame(1, call("slow", R"({"ms":30})", "1"));
  client.send_frame(1, call("echo", R"([7])", "\"two\""));
  CHECK(client.read_text() == R"({"jsonrpc":"2.0","id":"two","result":[7]})");
  CHECK(Json::parse(client.read_text())["id"] == 1);
  client.send_frame(1, call("stream", R"({"count":2})", "3"));
  CHECK(Json::parse(client.read_text())["method"] == "stream/delta");
  CHECK(Json::parse(client.read_text())["method"] == "stream/delta");
  CHECK(Json::parse(client.read_text())["result"]["sent"] == 2);
  client.send_frame(1, "nonsense");
  CHECK(Json::parse(client.read_text())["error"]["code"] == rpc::kParseError);
  client.send_frame(1, "[" + call("echo", "{}", "1") + "," + call("echo", "{}", "2") + "]");
  CHECK(Json::parse(client.read_text()).size() == 2);
}

TEST_CASE("ws: the subprotocol is echoed, the MCP rules hold there (W17)") {
  const ServerFixture server;
  auto client = server.client();
  client.send(get("/mcp", std::string(kUpgradeHeaders) + "Sec-WebSocket-Protocol: other, mcp\r\n"));
  const auto answer = client.read_answer();
  CHECK(answer.status == 101);
  CHECK(answer.headers.at("sec-websocket-protocol") == "mcp");
  CHECK(answer.headers.count("sec-websocket-extensions") == 0);
  client.send_frame(1, "{");
  CHECK_FALSE(Json::parse(client.read_text()).contains("id"));
  client.send_frame(1, call("slow", R"({"ms":60000})", "1"));
  client.send_frame(1, R"({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}})");
  client.send_frame(1, call("echo", "{}", "2"));
  CHECK(Json::parse(client.read_text())["id"] == 2);  // nothing for the cancelled one
  CHECK(server.mcp.cancels == 1);
  CHECK(server.ask(get("/mcp", std::string(kUpgradeHeaders) + "Sec-WebSocket-Protocol: other\r\n")).status == 400);
  std::string many;
  for (int i = 0; i < 1000; ++i) many += "p" + std::to_string(i) + ",";
  CHECK(server.ask(get("/mcp", std::string(kUpgradeHeaders) + "Sec-WebSocket-Protocol: mcp," + many + "\r\n")).status == 400);
}

TEST_CASE("ws: handshakes that are not quite right (W15, H21)") {
  const ServerFixture server;
  const std::string host = "Host: localhost\r\n";
  const std::string upgrade(kUpgradeHeaders);
  const auto without = [&upgrade](const std::string& line, const std::string& instead = "") {
    std::string out = upgrade;
    const size_t at = out.find(line);
    out.replace(at, out.find("\r\n", at) + 2 - at, instead);
    return out;
  };
  CHECK(server.ask(handshake(host + upgrade)).status == 101);
  CHECK(server.ask(handshake(upgrade)).status == 400);
  CHECK(server.ask(handshake("Host: evil\r\n" + upgrade)).status == 403);
  CHECK(server.ask(handshake(host + "Origin: http://evil\r\n" + upgrade)).status == 403);
  CHECK(server.ask(handshake(host + without("Sec-WebSocket-Key"))).status == 400);
  CHECK(server.ask(handshake(host + without("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j\r\n"))).status == 400);
  CHECK(server.ask(handshake(host + without("Connection", "Connection: close\r\n"))).status == 400);
  CHECK(server.ask(handshake(host + without("Upgrade"))).status == 400);
  CHECK(server.ask(handshake(host + upgrade, "POST /mcp HTTP/1.1")).status == 405);
  CHECK(server.ask(handshake(host + upgrade, "GET /mcp HTTP/1.0")).status == 400);
  CHECK(server.ask(handshake(host + upgrade, "GET /nowhere HTTP/1.1")).status == 404);
  CHECK(server.ask(handshake(host + upgrade, "GET /livez HTTP/1.1")).status == 400);
  CHECK(server.ask(handshake(host + upgrade + "Content-Length: 2\r\n") + "{}").status == 400);
  const auto version = server.ask(handshake(host + without("Sec-WebSocket-Version", "Sec-WebSocket-Version: 12\r\n")));
  CHECK(version.status == 426);
  CHECK(version.headers.at("sec-websocket-version") == "13");
  CHECK(server.ask(get("/livez", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n")).status == 200);
  auto compressing = server.client();  // W16: the extension is not taken, so its bit is wrong
  CHECK(compressing.upgrade("/rpc", "Sec-WebSocket-Extensions: permessage-deflate\r\n"));
  compressing.send(client_frame(1, "x", true, 4));
  CHECK(compressing.read_frame().close_code() == 1002);
}

TEST_CASE("ws: each broken frame has its close code, and the frame with it arrives (W1-W10, W18)") {
  const ServerFixture server;
  CHECK(close_code(server, std::string("\x81\x01", 2) + "a") == 1002);
  CHECK(close_code(server, client_frame(3, "a")) == 1002);
  CHECK(close_code(server, client_frame(0, "a")) == 1002);
  CHECK(close_code(server, client_frame(1, "\xff")) == 1007);
  CHECK(close_code(server, client_frame(2, "{}")) == 1003);
  CHECK(close_code(server, client_frame(8, "\x03")) == 1002);
  CHECK(close_code(server, client_frame(8, "")) == 1005);
  CHECK(close_code(server, client_frame(8, "\x03\xe8")) == 1000);
  CHECK(close_code(server, client_frame(1, std::string((4u << 20) + 1, ' ')), 10s) == 1009);
  std::string fragments = client_frame(1, "", false);
  for (int i = 0; i < 1'000'000; ++i) fragments += client_frame(0, i % 2 == 0 ? "" : " ", false);
  CHECK(close_code(server, fragments) == 1008);
  std::string responses;
  for (int i = 0; i < 100; ++i) responses += client_frame(1, R"({"jsonrpc":"2.0","id":1,"result":{}})");
  CHECK(close_code(server, responses) == 1008);  // J13
  CHECK(server.healthy());
}

TEST_CASE("ws: after our close frame nothing more is taken (W19)") {
  const ServerFixture server;
  auto client = server.client();
  REQUIRE(client.upgrade("/rpc"));
  client.send(client_frame(8, "\x03\xe8") + client_frame(1, call("echo")) + client_frame(8, "\x03\xe8"));
  CHECK(client.read_frame().opcode == 8);
  CHECK(client.read_frame().opcode == -1);
  CHECK(server.plain.calls == 0);
}

TEST_CASE("ws: leaving in any way cancels each call once and frees the connection (W14)") {
  ServerFixture server;
  for (int way = 0; way < 4; ++way) {
    server.plain.cancels = 0;
    const int before = server.plain.calls;
    auto client = server.client();
    REQUIRE(client.upgrade("/rpc"));
    for (int i = 0; i < 3; ++i) client.send_frame(1, call(i == 0 ? "stream" : "slow", R"({"ms":60000,"count":1000000,"interval_ms":1})", std::to_string(i)));
    REQUIRE(eventually([&] { return server.plain.calls == before + 3; }));
    if (way == 0) client.reset();
    if (way == 1) client.close();
    if (way == 2) client.shutdown_send();
    if (way == 3) client.send_frame(8, "");
    INFO("way " << way);
    CHECK(eventually([&] { return server.plain.cancels == 3 && server.server->stats().in_flight == 0; }));
    CHECK(eventually([&] { return server.server->stats().connections == 0; }));
    CHECK(server.plain.cancels == 3);
  }
}

TEST_CASE("ws: pings are answered, a flood of control frames ends the connection (W11)") {
  const ServerFixture server;
  auto client = server.client();
  REQUIRE(client.upgrade("/rpc"));
  client.send_frame(9, "are you there");
  const WsFrame pong = client.read_frame();
  CHECK(pong.opcode == 10);
  CHECK(pong.payload == "are you there");
  std::string flood;
  for (int i = 0; i < 101; ++i) flood += client_frame(i % 2 == 0 ? 10 : 9, "");
  CHECK(close_code(server, flood) == 1008);
}

TEST_CASE("ws: a message that does not come is given up, a silent client is asked and then cut (W13)") {
  rpc::Limits limits;
  limits.body_timeout = limits.ping_interval = limits.pong_timeout = std::chrono::seconds(1);
  const ServerFixture server(limits);
  auto partial = server.client();
  auto silent = server.client();
  REQUIRE(partial.upgrade("/rpc"));
  REQUIRE(silent.upgrade("/rpc"));
  partial.send(client_frame(1, std::string(1000, ' ')).substr(0, 20));
  CHECK(silent.read_frame().opcode == 9);
  CHECK(silent.closed_within(3s));
  for (WsFrame frame = partial.read_frame(); frame.opcode != -1; frame = partial.read_frame()) {
    if (frame.opcode == 8) CHECK(frame.close_code() == 1008);
  }
}

TEST_CASE("ws: bytes one at a time, and many messages in one write") {
  const ServerFixture server;
  auto client = server.client();
  std::string bytes = get("/rpc", kUpgradeHeaders) + client_frame(1, call("echo", R"({"slow":"writer"})"));
  for (const char c : bytes) REQUIRE(client.send(std::string_view(&c, 1)));
  CHECK(client.read_answer().status == 101);
  CHECK(Json::parse(client.read_text())["result"]["slow"] == "writer");
  bytes.clear();
  for (int i = 0; i < 2000; ++i) bytes += client_frame(1, call("echo", "{}", std::to_string(i)));
  std::thread sender([&] { client.send(bytes); });
  bool ordered = true;
  for (int i = 0; i < 2000; ++i) ordered = ordered && Json::parse(client.read_text())["id"] == i;
  sender.join();
  CHECK(ordered);
}

TEST_CASE("ws: a server that stops says so, and answers what it cancels") {
  ServerFixture server;
  auto client = server.client();
  REQUIRE(client.upgrade("/rpc"));
  client.send_frame(1, call("slow", R"({"ms":60000})"));
  REQUIRE(eventually([&] { return server.plain.calls == 1; }));
  const auto begin = std::chrono::steady_clock::now();
  server.server->stop();
  CHECK(Json::parse(client.read_text())["result"]["finish_reason"] == "cancelled");
  CHECK(client.read_frame().close_code() == 1001);
  client.close();
  server.thread.join();
  CHECK(std::chrono::steady_clock::now() - begin < 2s);
  CHECK_FALSE(RawClient(server.port).connected());
}
