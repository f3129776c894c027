// What a front end remembers of a conversation, and what it says when the host is lost.
#include "mcp/app/front/client_state.h"

#include <catch2/catch.hpp>

#include "rpc/json.h"

namespace kvasir::app {
namespace {

using rpc::Json;
using Speaks = mcp::Greeting::Speaks;

TEST_CASE("front end: a lost host is told for every request that waits, with the client's own id, once") {
  ClientState state(Speaks::kJsonRpc);
  state.client_said(R"({"jsonrpc":"2.0","id":1.0,"method":"generate_text"})");
  state.client_said(R"({"jsonrpc":"2.0","id":"a","method":"count_tokens"})");
  state.client_said(R"({"jsonrpc":"2.0","id":7,"method":"count_tokens"})");
  state.client_said(R"({"jsonrpc":"2.0","method":"note"})");
  CHECK(state.host_said(R"({"jsonrpc":"2.0","id":7,"result":{}})"));
  CHECK(state.host_said(R"({"jsonrpc":"2.0","method":"generate_text/delta","params":{"id":1.0,"text":"x"}})"));
  const auto answers = state.host_lost();
  REQUIRE(answers.size() == 2);
  for (const auto& text : answers) CHECK(Json::parse(text)["error"]["code"] == -31003);
  CHECK((answers[0] + answers[1]).find("\"id\":1.0") != std::string::npos);
  CHECK((answers[0] + answers[1]).find("\"id\":\"a\"") != std::string::npos);
  CHECK(state.host_lost().empty());
}

TEST_CASE("front end: every element of a batch waits for its own answer") {
  ClientState state(Speaks::kJsonRpc);
  state.client_said(
      R"([{"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc":"2.0","id":2,"method":"b"},{"jsonrpc":"2.0","method":"c"}])");
  CHECK(state.waiting() == 2);
  CHECK(state.host_said(R"([{"jsonrpc":"2.0","id":1,"result":1},{"jsonrpc":"2.0","id":2,"result":2}])"));
  CHECK(state.waiting() == 0);
}

TEST_CASE("front end: what is no message is copied, and nothing waits for it") {
  ClientState state(Speaks::kMcp);
  for (const char* text : {"", "nonsense", "[]", "5", R"({"jsonrpc":"2.0","id":null,"method":"x"})", R"({"id":1})"})
    state.client_said(text);
  CHECK(state.waiting() == 0);
  CHECK(state.host_said("nonsense"));
}

TEST_CASE("front end: MCP answers a cancelled request with silence, also when the host is lost") {
  ClientState state(Speaks::kMcp);
  state.client_said(R"({"jsonrpc":"2.0","id":3,"method":"tools/call"})");
  state.client_said(R"({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}})");
  CHECK(state.host_lost().empty());
}

TEST_CASE("front end: a new host hears how a legacy client introduced itself, and the client hears nothing of that") {
  ClientState state(Speaks::kMcp);
  CHECK(state.introduction().empty());
  state.client_said(R"({"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18"}})");
  CHECK(state.host_said(R"({"jsonrpc":"2.0","id":0,"result":{}})"));
  state.client_said(R"({"jsonrpc":"2.0","method":"notifications/initialized"})");
  CHECK(state.host_lost().empty());
  const auto said = state.introduction();
  REQUIRE(said.size() == 2);
  const Json first = Json::parse(said[0]);
  CHECK(first["method"] == "initialize");
  CHECK(first["params"]["protocolVersion"] == "2025-06-18");
  CHECK(first["id"] != 0);
  CHECK(Json::parse(said[1])["method"] == "notifications/initialized");
  state.client_said(R"({"jsonrpc":"2.0","id":1,"method":"ping"})");
  CHECK_FALSE(state.host_said(Json{{"jsonrpc", "2.0"}, {"id", first["id"]}, {"result", Json::object()}}.dump()));
  CHECK(state.host_said(R"({"jsonrpc":"2.0","id":1,"result":{}})"));
  CHECK(state.waiting() == 0);
}

TEST_CASE("greeting: goes there and back, and every wrong member is named") {
  mcp::Greeting greeting;
  greeting.speaks = Speaks::kJsonRpc;
  greeting.engine = {.model = "/m.gguf",
                     .context = 512,
                     .threads = 3,
                     .backend = "cpu-avx2",
                     .kv_type = KvType::kQ8_0,
                     .activations = Activations::kF32,
                     .quantize = QuantizeOnLoad::kQ4_0,
                     .gpu_layers = 7};
  greeting.preload = true;
  greeting.build = {"1.2.3", 42};
  const Json json = mcp::to_json(greeting);
  const auto back = mcp::read_greeting(json);
  REQUIRE(back);
  CHECK(back->engine == greeting.engine);
  CHECK(back->speaks == greeting.speaks);
  CHECK(back->preload);
  CHECK(back->build == greeting.build);
  for (const auto& [key, value] : json.items()) {
    Json wrong = json;
    wrong[key] = Json::array();
    REQUIRE_FALSE(mcp::read_greeting(wrong));
    CHECK(mcp::read_greeting(wrong).error().message.find(key) != std::string::npos);
  }
  for (const auto& [key, value] : json["engine"].items()) {
    Json wrong = json;
    wrong["engine"].erase(key);
    REQUIRE_FALSE(mcp::read_greeting(wrong));
  }
  Json other = json;
  other["kvasir"] = 2U;
  const auto refused = mcp::read_greeting(other);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::kUnsupported);
  CHECK(mcp::read_build(other));
}

}  // namespace
}  // namespace kvasir::app
