// The HTTP side of the listener over real sockets. H ids are those of the catalogue of bad inputs.
#include "rpc/json.h"
#include "tests/net/server_fixture.h"

using namespace kvasir;
using namespace kvasir::test;
using rpc::Json;

namespace {

std::string call(std::string_view method, std::string_view params = "{}", std::string_view id = "1") {
  return R"({"jsonrpc":"2.0","id":)" + std::string(id) + R"(,"method":")" + std::string(method) + R"(","params":)" + std::string(params) + "}";
}

int code_of(const HttpAnswer& answer) { return Json::parse(answer.body)["error"]["code"].get<int>(); }

}  // namespace

TEST_CASE("http: any JSON-RPC answer is a 200, nothing to answer a 204 (rows 1-8 by POST)") {
  const ServerFixture server;
  const auto answer = server.ask(post("/rpc", call("echo", R"({"a":1})", "1.0")));
  CHECK(answer.status == 200);
  CHECK(answer.body == R"({"jsonrpc":"2.0","id":1.0,"result":{"a":1}})");
  CHECK(answer.headers.at("content-type") == "application/json");
  const auto error = [&](std::string_view body) {
    const auto one = server.ask(post("/rpc", body));
    CHECK(one.status == 200);
    return code_of(one);
  };
  CHECK(error(R"({"jsonrpc":"2.0","method":"f)") == rpc::kParseError);
  CHECK(error("") == rpc::kParseError);
  CHECK(error("[]") == rpc::kInvalidRequest);
  CHECK(error(call("nope")) == rpc::kMethodNotFound);
  CHECK(error(call("forget")) == rpc::kInternalError);
  CHECK(error(call("throw")) == rpc::kInternalError);
  const auto silence = server.ask(post("/rpc", R"([{"jsonrpc":"2.0","method":"a"},{"jsonrpc":"2.0","method":"b"}])"));
  CHECK(silence.status == 204);
  CHECK(silence.body.empty());
  CHECK(Json::parse(server.ask(post("/rpc", "[1," + call("slow") + "," + call("echo", "[2]", "2") + "]")).body).size() == 3);
}

TEST_CASE("http: a request with stream true is answered with events, then the end of the body") {
  const ServerFixture server;
  auto client = server.client();
  client.send(post("/rpc", call("stream", R"({"stream":true,"count":3})")));
  const auto head = client.read_answer();
  CHECK(head.status == 200);
  CHECK(head.headers.at("content-type") == "text/event-stream");
  CHECK(head.headers.at("cache-control") == "no-cache, no-transform");
  CHECK(head.headers.at("x-accel-buffering") == "no");
  for (int i = 0; i < 3; ++i) CHECK(Json::parse(client.read_event().value())["params"]["index"] == i);
  CHECK(Json::parse(client.read_event().value())["result"]["sent"] == 3);
  CHECK_FALSE(client.read_event());
  client.send(get("/livez"));  // the connection lives on
  CHECK(client.read_answer().status == 200);
  client.send(post("/rpc", call("dirty", R"({"stream":true})")));  // H20: text that looks like an event of its own
  client.read_answer();
  CHECK(Json::parse(client.read_event().value())["result"] == "\xEF\xBF\xBD\n\ndata: \r");
  CHECK_FALSE(client.read_event());
  client.send(post("/rpc", call("stream", R"({"count":3})")));  // not asked for: one answer
  CHECK(Json::parse(client.read_answer().body)["result"]["sent"] == 3);
}

TEST_CASE("http: transport faults are HTTP errors") {
  const ServerFixture server;
  CHECK(server.ask(get("/rpc")).status == 405);
  CHECK(server.ask(get("/rpc")).headers.at("allow") == "POST");
  CHECK(server.ask(get("/nowhere")).status == 404);
  CHECK(server.ask(get("/mcp")).status == 426);
  CHECK(server.ask("POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}").status == 415);
  CHECK(server.ask("POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}").status == 415);
  CHECK(server.ask(post("/rpc", "{}", "Content-Encoding: gzip\r\n")).status == 415);
  for (const char* method : {"TRACE", "get", "BREW"}) CHECK(server.ask(std::string(method) + " /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").status == 405);
  CHECK(server.ask("CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n").status == 400);
  CHECK(server.ask("GET / HTTP/3.7\r\nHost: localhost\r\n\r\n").status == 505);
  CHECK(server.ask(get("/drop")).status == 500);
  CHECK(server.healthy());
}

TEST_CASE("http: foreign hosts and origins are refused before anything else (H1-H3)") {
  const ServerFixture server;
  CHECK(server.ask("GET /livez HTTP/1.1\r\nHost: evil.example.com\r\n\r\n").status == 403);
  CHECK(server.ask("GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n").status == 400);
  for (const char* origin : {"http://evil", "null", "http://localhost.evil.com"}) {
    CHECK(server.ask(get("/livez", "Origin: " + std::string(origin) + "\r\n")).status == 403);
    CHECK(server.ask(post("/rpc", call("echo"), "Origin: " + std::string(origin) + "\r\n")).status == 403);
    CHECK(server.ask(get("/mcp", "Origin: " + std::string(origin) + "\r\n" + std::string(kUpgradeHeaders))).status == 403);
  }
  CHECK(server.ask(get("/livez", "Origin: http://localhost:3000\r\n")).status == 200);
  CHECK(server.plain.calls == 0);
}

TEST_CASE("http: pages of allowed origins may read, others are not told so") {
  rpc::ListenOptions options;
  options.allowed_origins = {"https://app.example"};
  const ServerFixture server({}, options);
  const std::string preflight = "OPTIONS /rpc HTTP/1.1\r\nHost: localhost\r\nAccess-Control-Request-Method: POST\r\n";
  const auto allowed = server.ask(preflight + "Origin: https://app.example\r\nAccess-Control-Request-Headers: Mcp-Param-X, x-evil\r\n\r\n");
  CHECK(allowed.status == 204);
  CHECK(allowed.headers.at("access-control-allow-origin") == "https://app.example");
  CHECK(allowed.headers.at("access-control-allow-headers").find("mcp-param-x") != std::string::npos);
  CHECK(allowed.headers.at("access-control-allow-headers").find("x-evil") == std::string::npos);
  const auto posted = server.ask(post("/rpc", call("echo"), "Origin: https://app.example\r\n"));
  CHECK(posted.headers.at("access-control-allow-origin") == "https://app.example");
  CHECK(posted.headers.at("access-control-expose-headers").find("mcp-session-id") != std::string::npos);
  const auto local = server.ask(preflight + "Origin: http://localhost:1\r\n\r\n");
  CHECK(local.status == 405);
  CHECK(local.headers.count("access-control-allow-origin") == 0);
}

TEST_CASE("http: a token, once configured, is needed everywhere (H4-H6)") {
  rpc::ListenOptions options;
  options.token = "secret";
  const ServerFixture server({}, options);
  for (const char* header : {"", "Authorization: Bearer wrong\r\n", "Authorization: Bearer secre\r\n"}) {
    for (const std::string& request : {get("/livez", header), post("/rpc", call("echo"), header), get("/nowhere", header)}) {
      const auto answer = server.ask(request);
      CHECK(answer.status == 401);
      CHECK(answer.headers.at("www-authenticate") == "Bearer");
    }
  }
  CHECK(server.ask(get("/livez", "Authorization: Bearer " + std::string(2u << 20, 'x') + "\r\n")).status == 431);
  CHECK(server.ask(get("/livez?token=secret")).status == 400);
  const auto answer = server.ask(post("/rpc", call("whoami"), "Authorization: Bearer secret\r\n"));
  CHECK(Json::parse(answer.body)["result"]["principal"].get<std::string>().starts_with("token:"));
  auto client = server.client();
  CHECK(client.upgrade("/mcp", "Sec-WebSocket-Protocol: mcp, mcp.auth.secret\r\n"));
  CHECK(server.ask(get("/mcp", std::string(kUpgradeHeaders) + "Sec-WebSocket-Protocol: mcp, mcp.auth.wrong\r\n")).status == 401);
}

TEST_CASE("http: off loopback there is no listening without a token") {
  const auto server = rpc::Server::create({});
  rpc::ListenOptions options;
  options.host = "0.0.0.0";
  options.port = 0;
  const auto refused = server->listen(options);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::kInvalidArgument);
  options.token = "t";
  CHECK(server->listen(options));
}

TEST_CASE("http: a port that is taken is an error with a reason") {
  const ServerFixture first;
  const auto second = rpc::Server::create({});
  rpc::ListenOptions options;
  options.port = first.port;
  const auto refused = second->listen(options);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::kIo);
}

TEST_CASE("http: smuggling attempts get 400 and the end of the connection (H7, H8)") {
  const ServerFixture server;
  for (const char* headers : {"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "Content-Length: 0\r\nContent-Length: 30\r\n",
                              "Transfer-Encoding: chunked, identity\r\n", "Content-Length: 5abc\r\n"}) {
    auto client = server.client();
    client.send("POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + std::string(headers) +
                "\r\n0\r\n\r\nGET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
    const std::string all = client.read_all();
    CHECK(all.starts_with("HTTP/1.1 400"));
    CHECK(all.find("200 OK") == std::string::npos);
  }
}

TEST_CASE("http: bodies over the cap are refused unread, with and without asking first (H11)") {
  const ServerFixture server;
  auto asking = server.client();
  asking.send("POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 4194305\r\nExpect: 100-continue\r\n\r\n");
  CHECK(asking.read_answer().status == 413);
  auto sending = server.client();
  sending.send(post("/rpc", std::string(6u << 20, ' ')));  // the answer arrives although nobody read the rest
  CHECK(sending.read_answer().status == 413);
  auto polite = server.client();
  const std::string body = call("echo");
  polite.send("POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
              "\r\nExpect: 100-continue\r\n\r\n");
  CHECK(eventually([&] { return polite.send(""); }));
  polite.send(body);
  CHECK(polite.read_answer().status == 200);
  CHECK(server.healthy());
}

TEST_CASE("http: chunked bodies and bytes one at a time") {
  const ServerFixture server;
  const std::string body = call("echo", R"({"x":"y"})");
  auto bytewise = server.client();
  const std::string plain = post("/rpc", body);
  for (const char c : plain) REQUIRE(bytewise.send(std::string_view(&c, 1)));
  CHECK(Json::parse(bytewise.read_answer().body)["result"]["x"] == "y");
  auto chunked = server.client();
  std::string text = "POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const char c : body) text += std::string("1\r\n") + c + "\r\n";
  chunked.send(text + "0\r\n\r\n");
  CHECK(Json::parse(chunked.read_answer().body)["result"]["x"] == "y");
}

TEST_CASE("http: pipelined requests are answered in order, slow ones holding the rest back (H14)") {
  const ServerFixture server;
  auto client = server.client();
  std::string requests;
  constexpr int kCount = 1000;
  for (int i = 0; i < kCount; ++i) requests += post("/rpc", call(i == 10 ? "slow" : "echo", "{}", std::to_string(i)));
  std::thread sender([&] { client.send(requests); });
  bool ordered = true;
  for (int i = 0; i < kCount; ++i) ordered = ordered && Json::parse(client.read_answer().body)["id"] == i;
  sender.join();
  CHECK(ordered);
}

TEST_CASE("http: a client that leaves cancels its calls exactly once (H18)") {
  ServerFixture server;
  for (const char* how : {"reset", "close", "stream"}) {
    server.plain.cancels = server.plain.finished = 0;
    auto client = server.client();
    const int before = server.plain.calls;
    if (std::string(how) == "stream") {
      client.send(post("/rpc", call("stream", R"({"stream":true,"count":1000000,"interval_ms":5})")));
      client.read_answer();
      CHECK(client.read_event());
    } else {
      client.send(post("/rpc", call("slow", R"({"ms":60000})")));
    }
    CHECK(eventually([&] { return server.plain.calls == before + 1; }));
    std::string(how) == "reset" ? client.reset() : client.close();
    INFO(how);
    CHECK(eventually([&] { return server.plain.cancels == 1 && server.server->stats().in_flight == 0; }));
    std::this_thread::sleep_for(20ms);
    CHECK(server.plain.cancels == 1);
    CHECK(server.plain.finished == 1);
  }
}

TEST_CASE("http: a client that only closes its sending side still gets its answer") {
  const ServerFixture server;
  auto client = server.client();
  client.send(post("/rpc", call("slow", R"({"ms":60000})")));
  client.shutdown_send();
  CHECK(Json::parse(client.read_answer().body)["result"]["finish_reason"] == "cancelled");
  auto quick = server.client();
  quick.send(post("/rpc", call("echo")));
  quick.shutdown_send();
  CHECK(quick.read_answer().status == 200);
}

TEST_CASE("http: heads, bodies and idle connections that do not come are given up (H12)") {
  rpc::Limits limits;
  limits.header_timeout = limits.body_timeout = limits.idle_timeout = std::chrono::seconds(1);
  const ServerFixture server(limits);
  auto head = server.client();
  head.send("GET /livez HT");
  auto body = server.client();
  body.send("POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{");
  auto idle = server.client();
  idle.send(get("/livez"));
  CHECK(idle.read_answer().status == 200);
  auto silent = server.client();
  CHECK(head.read_answer().status == 408);
  CHECK(body.read_answer().status == 408);
  CHECK(idle.closed_within(3s));
  CHECK(silent.closed_within(3s));
}

TEST_CASE("http: HTTP/1.0 clients, HEAD, and closing on request") {
  const ServerFixture server;
  auto old = server.client();
  old.send("GET /livez HTTP/1.0\r\nHost: localhost\r\n\r\n");
  CHECK(old.read_all().ends_with("\r\n\r\nok\n"));
  auto stream = server.client();
  const std::string body = call("stream", R"({"stream":true,"count":1})");
  stream.send("POST /rpc HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  const std::string events = stream.read_all();
  CHECK(events.find("transfer-encoding") == std::string::npos);
  CHECK(events.ends_with("\"result\":{\"sent\":1}}\n\n"));
  auto head = server.client();
  head.send("HEAD /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  CHECK(head.read_all().ends_with("\r\n\r\n"));
}

TEST_CASE("http: what is not HTTP at all is closed at once (W20)") {
  const ServerFixture server;
  for (const std::string& hello : {std::string("\x16\x03\x01\x02\x00\x01\x00", 7), std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), std::string("\0\0\0", 3)}) {
    auto client = server.client();
    client.send(hello);
    CHECK(client.read_answer().status == 400);
    CHECK(client.closed_within(3s));
  }
}

TEST_CASE("http: an event stream without events is kept alive by comments") {
  rpc::Limits limits;
  limits.sse_keepalive = std::chrono::seconds(1);
  const ServerFixture server(limits);
  const std::string body = call("slow", R"({"ms":1600,"stream":true})");
  auto client = server.client();
  client.send("POST /rpc HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  CHECK(client.read_all().find(": keepalive\n\n") != std::string::npos);
}
