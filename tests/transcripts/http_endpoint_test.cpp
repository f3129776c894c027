// /mcp over HTTP: statuses, headers, streams, sessions, cancels (protocol.md §6.2-6.4, reliability.md H15-H18).
#include <catch2/catch.hpp>
#include <string>

#include "tests/transcripts/http_client.h"

using namespace kvasir;
using namespace kvasir::test;
using std::chrono::milliseconds;

namespace {

constexpr const char* kListCall = R"({"jsonrpc":"2.0","id":1,"method":"tools/list"})";
const std::string kHang = R"("name":"generate_text","arguments":{"prompt":"!hang"})";
const std::string kHello = R"("name":"generate_text","arguments":{"prompt":"hi","max_tokens":2})";

std::string legacy_call(const std::string& id, const std::string& members, const std::string& meta = "") {
  return R"({"jsonrpc":"2.0","id":)" + id + R"(,"method":"tools/call","params":{)" + members +
         (meta.empty() ? "" : ",\"_meta\":{" + meta + "}") + "}}";
}

int code_of(const MemoryExchange& exchange) {
  return body_of(exchange)["error"]["code"].get<int>();
}

}  // namespace

TEST_CASE("what is no JSON post is refused before it is parsed (H15)") {
  HostFixture f;
  CHECK(f.server.request(http_post("{}", {{"content-type", "text/plain"}}))->status == 415);
  CHECK(f.server.request(http_post(kListCall, {{"content-type", "Application/JSON; charset=utf-8"}}))->status != 415);
  CHECK(f.server.request(http_post("{}", {{"content-encoding", "gzip"}}))->status == 415);
  CHECK(f.server.request(http_post("{}", {{"accept", "text/html"}}))->status == 406);
  CHECK(f.server.request(http_post("{}", {{"accept", "application/json;q=0"}}))->status == 406);
  CHECK(f.server.request(http_post(kListCall, {{"accept", "*/*"}}))->status != 406);
  auto bare = http_post("{}");
  bare.headers.erase("accept");
  CHECK(f.server.request(bare)->status == 406);
  for (const char* method : {"GET", "PUT", "OPTIONS"}) {
    auto other = http_post("");
    other.method = method;
    const auto answer = f.server.request(other);
    CHECK(answer->status == 405);
    CHECK(answer->header("Allow") == "POST, DELETE");
  }
}

TEST_CASE("bodies that are no message are answered 400 without an id") {
  HostFixture f;
  for (const char* body : {"", "{", "[]", "[1]", "5", R"({"jsonrpc":"2.0","id":null,"method":"ping"})",
                           R"({"jsonrpc":"2.0","id":1.5,"method":"ping"})"}) {
    INFO(body);
    const auto answer = f.server.request(http_post(body));
    CHECK(answer->status == 400);
    CHECK(body_of(*answer).contains("error"));
    CHECK_FALSE(body_of(*answer).contains("id"));
  }
}

TEST_CASE("a modern request needs nothing before it and is answered in JSON") {
  HostFixture f;
  const auto discover = f.server.request(modern_post("\"d\"", "server/discover"));
  CHECK(discover->status == 200);
  CHECK(discover->header("Content-Type") == "application/json");
  CHECK(discover->header("Mcp-Session-Id").empty());
  CHECK(body_of(*discover)["id"] == "d");
  CHECK(body_of(*discover)["result"]["supportedVersions"][0] == "2026-07-28");

  const auto call = f.server.request(modern_post("1", "tools/call", kHello, "generate_text"));
  CHECK(call->status == 0);
  f.server.advance(milliseconds(20));
  CHECK(call->status == 200);
  CHECK_FALSE(call->is_events);
  CHECK(body_of(*call)["result"]["content"][0]["text"] == "Once upon");
}

TEST_CASE("errors have the statuses of the modern table and keep the id") {
  HostFixture f;
  const auto check = [&](rpc::HttpRequest request, int status, int code) {
    const auto answer = f.server.request(std::move(request));
    CHECK(answer->status == status);
    CHECK(code_of(*answer) == code);
    CHECK(body_of(*answer)["id"] == 1);
  };
  check(modern_post("1", "nope"), 404, -32601);
  check(modern_post("1", "ping"), 404, -32601);
  check(modern_post("1", "tools/call", R"("name":"nope")", "nope"), 200, -32602);
  check(modern_post("1", "tools/call", R"("name":"generate_text")", "count_tokens"), 400, -32020);
  check(modern_post("1", "tools/call", R"("name":"generate_text")"), 400, -32020);
  auto wrong = modern_post("1", "tools/list");
  wrong.headers.erase("mcp-method");
  wrong.headers.emplace("mcp-method", "tools/call");
  check(wrong, 400, -32020);
  auto old = modern_post("1", "tools/list");
  old.headers.erase("mcp-protocol-version");
  old.headers.emplace("mcp-protocol-version", "2025-11-25");
  check(old, 400, -32020);
  check(http_post(kListCall, {{"mcp-protocol-version", "2026-07-28"}, {"mcp-method", "tools/list"}}), 400, -32602);
  check(http_post(kListCall), 400, -32000);
}

TEST_CASE("a progress token makes it a stream: progress, then the result, then the end") {
  HostFixture f;
  const auto call = f.server.request(modern_post("1", "tools/call", kHello, "generate_text", R"("progressToken":"p")"));
  CHECK(call->is_events);
  REQUIRE(call->events.size() == 1);
  f.server.advance(milliseconds(500));
  CHECK(call->ended);
  std::string joined;
  for (const auto& event : call->events) {
    const auto message = rpc::Json::parse(event);
    if (!message.contains("params") || !message["params"].contains("_meta")) continue;
    joined += message["params"]["_meta"]["dev.kvasir/delta"].get<std::string>();
  }
  const auto last = rpc::Json::parse(call->events.back());
  CHECK(last["id"] == 1);
  CHECK(last["result"]["content"][0]["text"] == joined);
  CHECK(joined == "Once upon");
}

TEST_CASE("a client that takes no events gets the result alone") {
  HostFixture f;
  auto request = modern_post("1", "tools/call", kHello, "generate_text", R"("progressToken":"p")");
  request.headers.erase("accept");
  request.headers.emplace("accept", "application/json");
  const auto call = f.server.request(request);
  f.server.advance(milliseconds(500));
  CHECK_FALSE(call->is_events);
  CHECK(body_of(*call)["result"]["content"][0]["text"] == "Once upon");
}

TEST_CASE("a modern client that leaves has cancelled; nothing more is sent (H18)") {
  HostFixture f;
  const auto call = f.server.request(modern_post("1", "tools/call", kHang, "generate_text", R"("progressToken":"p")"));
  CHECK(f.engine->running() == 1);
  const size_t said = call->events.size();
  call->client_leaves();
  f.server.settle();
  CHECK(f.engine->running() == 0);
  f.server.advance(milliseconds(60'000));
  CHECK(call->events.size() == said);
}

TEST_CASE("a legacy client that leaves has five seconds of grace") {
  HostFixture f;
  const auto session = open_session(f);
  const auto call = f.server.request(session_post(session, legacy_call("1", kHang)));
  call->client_leaves();
  f.server.advance(milliseconds(4999));
  CHECK(f.engine->running() == 1);
  f.server.advance(milliseconds(2));
  CHECK(f.engine->running() == 0);
}

TEST_CASE("a legacy cancel comes by a post of its own and only in its session") {
  HostFixture f;
  const auto session = open_session(f), other = open_session(f);
  const auto call = f.server.request(session_post(session, legacy_call("\"c\"", kHang, R"("progressToken":1)")));
  const std::string cancel = R"({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"c"}})";
  CHECK(f.server.request(session_post(other, cancel))->status == 202);
  f.server.settle();
  CHECK(f.engine->running() == 1);
  CHECK(f.server.request(session_post(session, cancel))->status == 202);
  f.server.settle();
  CHECK(f.engine->running() == 0);
  CHECK(call->ended);
  CHECK(call->events.size() == 1);  // the first progress, and no result
}

TEST_CASE("initialize mints a session that later requests must name") {
  HostFixture f;
  const auto session = open_session(f);
  REQUIRE(session.size() >= 32);
  CHECK(session.find_first_not_of("0123456789abcdef") == std::string::npos);
  CHECK(open_session(f) != session);

  const auto list = f.server.request(session_post(session, kListCall));
  CHECK(list->status == 200);
  CHECK(body_of(*list)["result"]["tools"].size() == 13);
  CHECK_FALSE(body_of(*list)["result"].contains("resultType"));
  CHECK(f.server.request(session_post(session, R"({"jsonrpc":"2.0","method":"notifications/initialized"})"))->status ==
        202);

  CHECK(f.server.request(http_post(kListCall))->status == 400);
  CHECK(f.server.request(session_post("0123", kListCall))->status == 404);
  CHECK(f.server.request(session_post(session, kListCall, "1999-01-01"))->status == 400);
  CHECK(f.server.request(http_post(R"({"jsonrpc":"2.0","method":"notifications/initialized"})"))->status == 400);
  auto foreign = session_post(session, kListCall);
  foreign.principal = "somebody else";
  CHECK(f.server.request(foreign)->status == 404);
}

TEST_CASE("a failed handshake leaves no session") {
  HostFixture f;
  const auto answer = f.server.request(http_post(R"({"jsonrpc":"2.0","id":0,"method":"initialize","params":{}})"));
  CHECK(answer->status == 400);
  CHECK(answer->header("Mcp-Session-Id").empty());
}

TEST_CASE("the session's version rules when the header is absent") {
  HostFixture f;
  const auto session = open_session(f, "2024-11-05");
  const auto list = f.server.request(http_post(kListCall, {{"mcp-session-id", session}}));
  CHECK_FALSE(body_of(*list)["result"]["tools"][0].contains("outputSchema"));
}

TEST_CASE("DELETE ends a session and what runs in it; the modern era has none to end (H17)") {
  HostFixture f;
  const auto session = open_session(f);
  const auto call = f.server.request(session_post(session, legacy_call("1", kHang)));
  auto remove = http_post("", {{"mcp-session-id", session}});
  remove.method = "DELETE";
  auto modern = remove;
  modern.headers.emplace("mcp-protocol-version", "2026-07-28");
  CHECK(f.server.request(modern)->status == 405);
  CHECK(f.server.request(remove)->status == 200);
  f.server.settle();
  CHECK(f.engine->running() == 0);
  CHECK(call->status == 202);
  CHECK(call->body.empty());
  CHECK(f.server.request(remove)->status == 404);
  CHECK(f.server.request(session_post(session, kListCall))->status == 404);
  auto nameless = http_post("");
  nameless.method = "DELETE";
  CHECK(f.server.request(nameless)->status == 400);
}

TEST_CASE("sessions are bounded in age and number") {
  mcp::HostOptions options;
  options.max_http_sessions = 2;
  options.http_session_ttl = std::chrono::seconds(60);
  HostFixture f({}, options);
  const auto first = open_session(f);
  f.server.advance(milliseconds(1000));
  const auto second = open_session(f);
  f.server.advance(milliseconds(1000));
  CHECK(f.server.request(session_post(first, kListCall))->status == 200);
  const auto third = open_session(f);
  CHECK(f.server.request(session_post(second, kListCall))->status == 404);  // idle longest
  CHECK(f.server.request(session_post(first, kListCall))->status == 200);

  f.server.request(session_post(first, legacy_call("1", kHang)));
  f.server.request(session_post(third, legacy_call("1", kHang)));
  const auto refused = f.server.request(http_post(
      R"({"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{}}})"));
  CHECK(refused->status == 503);
  CHECK_FALSE(refused->header("Retry-After").empty());
  f.server.advance(milliseconds(61'000 + 60'000));
  CHECK(f.server.request(session_post(first, kListCall))->status == 404);
}

TEST_CASE("an id in flight is taken; the first call is unharmed") {
  HostFixture f;
  const auto session = open_session(f);
  const auto first = f.server.request(session_post(session, legacy_call("7", kHello)));
  const auto again = f.server.request(session_post(session, legacy_call("7", kHello)));
  CHECK(again->status == 400);
  CHECK(code_of(*again) == -32600);
  f.server.advance(milliseconds(100));
  CHECK(body_of(*first)["result"]["isError"] == false);
  CHECK(f.server.request(session_post(session, legacy_call("7", R"("name":"get_model_info")")))->status == 0);
}

TEST_CASE("too much in flight is refused with a time to come back") {
  mcp::HostOptions options;
  options.limits.max_in_flight = 1;
  options.limits.max_in_flight_total = 2;
  HostFixture f({}, options);
  const auto session = open_session(f);
  f.server.request(session_post(session, legacy_call("1", kHang)));
  const auto second = f.server.request(session_post(session, legacy_call("2", kHang)));
  CHECK(second->status == 503);
  CHECK(code_of(*second) == -31001);
  CHECK(second->header("Retry-After") == "1");
  f.server.request(modern_post("1", "tools/call", kHang, "generate_text"));
  CHECK(f.server.request(modern_post("2", "tools/list"))->status == 503);
}

TEST_CASE("batches live in 2025-03-26 sessions only") {
  HostFixture f;
  const std::string batch =
      R"([{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","method":"notifications/initialized"},{"jsonrpc":"2.0","id":2,"method":"nope"},7])";
  const auto answer = f.server.request(session_post(open_session(f, "2025-03-26"), batch, "2025-03-26"));
  CHECK(answer->status == 200);
  REQUIRE(body_of(*answer).size() == 3);
  CHECK(f.server.request(session_post(open_session(f, "2025-06-18"), batch, "2025-06-18"))->status == 400);
  CHECK(f.server.request(http_post(batch))->status == 400);
  const auto notes = f.server.request(session_post(
      open_session(f, "2025-03-26"), R"([{"jsonrpc":"2.0","method":"notifications/initialized"}])", "2025-03-26"));
  CHECK(notes->status == 202);
  CHECK(notes->body.empty());
}

TEST_CASE("calls of a batch stream their progress and all results") {
  HostFixture f;
  const auto session = open_session(f, "2025-03-26");
  const auto answer =
      f.server.request(session_post(session,
                                    "[" + legacy_call("1", kHello, R"("progressToken":1)") + "," +
                                        legacy_call("2", R"("name":"count_tokens","arguments":{"text":"a"})") + "]",
                                    "2025-03-26"));
  CHECK(answer->is_events);
  f.server.advance(milliseconds(100));
  CHECK(answer->ended);
  int results = 0;
  for (const auto& event : answer->events) results += rpc::Json::parse(event).contains("result") ? 1 : 0;
  CHECK(results == 2);
}

TEST_CASE("posted notifications and responses are accepted without content") {
  HostFixture f;
  auto modern = http_post(R"({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}})",
                          {{"mcp-protocol-version", "2026-07-28"}});
  CHECK(f.server.request(modern)->status == 202);
  CHECK(f.server.request(session_post(open_session(f), R"({"jsonrpc":"2.0","id":1,"result":{}})"))->status == 202);
  CHECK(
      f.server.request(http_post(R"({"jsonrpc":"2.0","id":1,"result":{}})", {{"mcp-protocol-version", "2026-07-28"}}))
          ->status == 400);
}

TEST_CASE("a subscription is a stream that ends at once") {
  HostFixture f;
  const auto listen =
      f.server.request(modern_post("\"l\"", "subscriptions/listen", R"("notifications":{"toolsListChanged":true})"));
  CHECK(listen->is_events);
  CHECK(listen->ended);
  REQUIRE(listen->events.size() == 2);
  CHECK(rpc::Json::parse(listen->events[0])["method"] == "notifications/subscriptions/acknowledged");
  CHECK(rpc::Json::parse(listen->events[1])["id"] == "l");
}

TEST_CASE("a tool's text with line breaks stays one event (H20)") {
  HostFixture f;
  const auto call = f.server.request(
      modern_post("1", "tools/call", R"("name":"generate_text","arguments":{"prompt":"!fail \n\ndata: {}\r"})",
                  "generate_text", R"("progressToken":1)"));
  f.server.advance(milliseconds(100));
  for (const auto& event : call->events) CHECK(event.find_first_of("\r\n") == std::string::npos);
}
