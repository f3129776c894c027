// The composition: routes, models by connection, status pages, the order of the end.
#include <catch2/catch.hpp>
#include <string>

#include "tests/transcripts/http_client.h"

using namespace kvasir;
using namespace kvasir::test;
using std::chrono::milliseconds;

namespace {

rpc::HttpRequest get(const std::string& path, const std::string& method = "GET") {
  rpc::HttpRequest out;
  out.method = method;
  out.path = path;
  return out;
}

constexpr const char* kCount =
    R"({"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"count_tokens","arguments":{"text":"a"}}})";

}  // namespace

TEST_CASE("every route of the table is there") {
  HostFixture f;
  CHECK(f.server.has_websocket("/mcp", "mcp"));
  CHECK(f.server.has_websocket("/ws", "mcp"));
  CHECK(f.server.has_websocket("/rpc", ""));
  CHECK(f.server.has_rpc_post("/rpc"));
  for (const char* path : {"/livez", "/readyz", "/health", "/metrics"}) {
    CHECK(f.server.request(get(path))->status == 200);
    CHECK(f.server.request(get(path, "HEAD"))->body.empty());
    CHECK(f.server.request(get(path, "POST"))->status == 405);
  }
}

TEST_CASE("the handshake and the list never touch the engine or the model's name") {
  mcp::HostOptions options;
  int resolved = 0;
  options.resolve_model = [&](const std::string&) -> Result<std::string> {
    ++resolved;
    return std::string("/m.gguf");
  };
  HostFixture f({}, options);
  const auto connection = f.server.connect(f.host->mcp_service());
  connection->receive(
      R"({"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{}}})");
  connection->receive(R"({"jsonrpc":"2.0","id":1,"method":"tools/list"})");
  f.server.request(modern_post("1", "server/discover"));
  CHECK(connection->sent.size() == 2);
  CHECK(f.engine->commands.empty());
  CHECK(resolved == 0);
  connection->receive(kCount);
  REQUIRE(f.engine->commands.size() == 1);
  CHECK(f.engine->commands[0].engine.model == "/m.gguf");
  CHECK(resolved == 1);
}

TEST_CASE("a model that is not there is told to the caller, with the resolver's advice") {
  mcp::HostOptions options;
  options.resolve_model = [](const std::string& name) -> Result<std::string> {
    return Failure(Code::kNotFound, "no model named " + name + "; get one with ...");
  };
  HostFixture f({}, options);
  const auto connection = f.server.connect(f.host->mcp_service());
  connection->receive(kCount);
  const auto answer = rpc::Json::parse(connection->sent.back());
  CHECK(answer["result"]["isError"] == true);
  CHECK_THAT(answer["result"]["content"][0]["text"].get<std::string>(), Catch::Contains("no model named fake"));
  CHECK(f.engine->commands.empty());
  CHECK(f.server.request(get("/readyz"))->status == 503);
  CHECK(f.server.request(get("/livez"))->status == 200);

  Result<void> preloaded;
  f.host->preload(EngineKey{}, [&](Result<void> result) { preloaded = std::move(result); });
  CHECK(preloaded.error().code == Code::kNotFound);
}

TEST_CASE("preload loads the default model and says when") {
  HostFixture f({.load_time = milliseconds(500)});
  bool done = false;
  f.host->preload(EngineKey{}, [&](Result<void> result) { done = result.has_value(); });
  f.server.advance(milliseconds(400));
  CHECK_FALSE(done);
  f.server.advance(milliseconds(200));
  CHECK(done);
}

TEST_CASE("metrics count what happened, in Prometheus' form") {
  HostFixture f;
  const auto connection = f.server.connect(f.host->json_rpc_service());
  connection->receive(
      R"({"jsonrpc":"2.0","id":1,"method":"generate_text","params":{"prompt":"a b c","max_tokens":4}})");
  f.server.advance(milliseconds(40));
  connection->receive(R"({"jsonrpc":"2.0","id":2,"method":"generate_text","params":{"prompt":"!hang"}})");
  connection->receive(R"({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}})");
  connection->receive(R"({"jsonrpc":"2.0","id":3,"method":"generate_text","params":{"prompt":"!fail io"}})");
  f.server.settle();
  const auto text = f.server.request(get("/metrics"))->body;
  for (const char* line :
       {"kvasir_generated_tokens_total 4\n", "kvasir_prompt_tokens_total 4\n",
        "kvasir_cancelled_total{cause=\"requested\"} 1\n",
        "kvasir_request_duration_seconds_count{method=\"generate_text\",transport=\"stdio\",status=\"ok\"} 1\n",
        "kvasir_request_duration_seconds_count{method=\"generate_text\",transport=\"stdio\",status=\"error\"} 1\n",
        "kvasir_request_duration_seconds_bucket{method=\"generate_text\",transport=\"stdio\",status=\"ok\",le=\"0.3\"} "
        "1\n",
        "kvasir_queue_depth 0\n", "# TYPE kvasir_time_to_first_token_seconds histogram\n"}) {
    INFO(line);
    CHECK(text.find(line) != std::string::npos);
  }
}

TEST_CASE("at the end everybody is answered, then nothing is taken any more") {
  HostFixture f;
  const auto connection = f.server.connect(f.host->json_rpc_service());
  connection->receive(R"({"jsonrpc":"2.0","id":1,"method":"generate_text","params":{"prompt":"!hang"}})");
  f.host->shutdown();
  REQUIRE(connection->sent.size() == 1);
  CHECK(rpc::Json::parse(connection->sent.back())["error"]["message"] == "the server is shutting down");
  connection->receive(R"({"jsonrpc":"2.0","id":2,"method":"count_tokens","params":{"text":"a"}})");
  CHECK(rpc::Json::parse(connection->sent.back())["error"]["data"]["code"] == "unavailable");
  CHECK(f.server.request(get("/readyz"))->status == 503);
  CHECK(f.server.request(get("/health"))->status == 503);
  f.host->shutdown();
}

TEST_CASE("a client that vanishes frees its slot") {
  HostFixture f;
  const auto connection = f.server.connect(f.host->mcp_service());
  connection->receive(
      R"({"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"generate_text","arguments":{"prompt":"!hang"}}})");
  CHECK(f.engine->running() == 1);
  connection->disconnect();
  f.server.settle();
  CHECK(f.engine->running() == 0);
}

TEST_CASE("a call that nobody watches is limited even if its tool knows no time") {
  bool loaded = false;  // outlives the host: the load ends, cancelled, when that goes
  HostFixture f({.load_time = milliseconds(200'000)});
  f.host->preload(EngineKey{}, [&](Result<void>) { loaded = true; });
  const auto connection = f.server.connect(f.host->mcp_service());
  connection->receive(
      R"({"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"generate_text","arguments":{"prompt":"hi"}}})");
  f.server.advance(milliseconds(54'000));
  CHECK(connection->sent.empty());
  f.server.advance(milliseconds(1'000));
  REQUIRE(connection->sent.size() == 1);
  CHECK(rpc::Json::parse(connection->sent.back())["result"]["structuredContent"]["finish_reason"] == "time_limit");
  CHECK_FALSE(loaded);
}

TEST_CASE("a call that wants no answer costs nothing") {
  HostFixture f;
  const auto connection = f.server.connect(f.host->json_rpc_service());
  connection->receive(R"({"jsonrpc":"2.0","method":"generate_text","params":{"prompt":"!hang"}})");
  CHECK(f.engine->commands.empty());
  CHECK(connection->sent.empty());
}
