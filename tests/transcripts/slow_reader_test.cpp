// Backpressure: a reader that is behind pauses its own generation, and loses it after a while.
#include <catch2/catch.hpp>
#include <string>

#include "tests/transcripts/http_client.h"

using namespace kvasir;
using namespace kvasir::test;
using std::chrono::milliseconds;

namespace {

const std::string kStream =
    R"({"jsonrpc":"2.0","id":1,"method":"generate_text","params":{"prompt":"hi","max_tokens":100,"ignore_eos":true,"stream":true}})";

rpc::Json take_last(MemoryConnection& connection) {
  auto message = rpc::Json::parse(connection.sent.back());
  connection.sent.clear();
  return message;
}

template <class C>
size_t sent_commands(const FakeEngine& engine) {
  size_t count = 0;
  for (const auto& command : engine.commands) count += std::holds_alternative<C>(command.body) ? 1 : 0;
  return count;
}

}  // namespace

TEST_CASE("a slow reader pauses its generation and gets all of it in the end") {
  HostFixture f;
  const auto connection = f.server.connect(f.host->json_rpc_service());
  connection->receive(kStream);
  f.server.advance(milliseconds(50));
  CHECK(connection->sent.size() == 5);
  connection->reader_stuck = true;
  f.server.advance(milliseconds(10'000));
  CHECK(connection->sent.size() == 6);  // the one that filled the buffer
  CHECK(sent_commands<Pause>(*f.engine) == 1);

  connection->reader_stuck = false;
  connection->drained();
  f.server.advance(milliseconds(2000));
  CHECK(sent_commands<Resume>(*f.engine) == 1);
  std::string joined;
  for (const auto& text : connection->sent) {
    const auto message = rpc::Json::parse(text);
    if (message.contains("method")) joined += message["params"]["text"].get<std::string>();
  }
  CHECK(take_last(*connection)["result"]["text"] == joined);
  CHECK(joined == FakeEngine::text(100));
}

TEST_CASE("a reader that takes nothing for thirty seconds loses its generation, with a reason") {
  HostFixture f;
  const auto connection = f.server.connect(f.host->json_rpc_service());
  connection->receive(kStream);
  connection->reader_stuck = true;
  f.server.advance(milliseconds(29'000));
  CHECK(f.engine->running() == 1);
  f.server.advance(milliseconds(2'000));
  CHECK(f.engine->running() == 0);
  const auto last = take_last(*connection);
  CHECK(last["error"]["code"] == -31002);
  CHECK_THAT(last["error"]["message"].get<std::string>(), Catch::Contains("reader"));
}

TEST_CASE("a second congestion has its own thirty seconds") {
  HostFixture f({.token_time = milliseconds(1000)});
  const auto connection = f.server.connect(f.host->json_rpc_service());
  connection->receive(kStream);
  connection->reader_stuck = true;
  f.server.advance(milliseconds(20'000));
  connection->reader_stuck = false;
  connection->drained();
  f.server.advance(milliseconds(2'500));
  connection->reader_stuck = true;
  f.server.advance(milliseconds(15'000));  // 30 s after the first congestion began
  CHECK(f.engine->running() == 1);
}

TEST_CASE("over MCP text is held back while the reader is behind, and nobody else waits") {
  HostFixture f;
  const auto slow = f.server.connect(f.host->mcp_service()), other = f.server.connect(f.host->mcp_service());
  const std::string call =
      R"({"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"generate_text","arguments":{"prompt":"hi"},"_meta":{"progressToken":1}}})";
  slow->reader_stuck = true;
  slow->receive(call);
  f.server.settle();
  other->receive(call);
  f.server.advance(milliseconds(20'000));
  CHECK(slow->sent.size() == 1);
  CHECK(rpc::Json::parse(other->sent.back())["result"]["isError"] == false);

  slow->reader_stuck = false;
  slow->drained();
  f.server.advance(milliseconds(2'000));
  CHECK(take_last(*slow)["result"]["content"][0]["text"] == FakeEngine::text(8));
}

TEST_CASE("a slow reader of events is paused too") {
  HostFixture f;
  const auto call = f.server.request(modern_post(
      "1", "tools/call", R"("name":"generate_text","arguments":{"prompt":"hi","max_tokens":50,"ignore_eos":true})",
      "generate_text", R"("progressToken":1)"));
  call->buffered = 1u << 20;
  f.server.advance(milliseconds(5'000));
  CHECK(sent_commands<Pause>(*f.engine) == 1);
  CHECK_FALSE(call->ended);
  call->client_reads();
  f.server.advance(milliseconds(5'000));
  CHECK(call->ended);
  CHECK(rpc::Json::parse(call->events.back())["result"]["content"][0]["text"] == FakeEngine::text(50));
}

TEST_CASE("every call of a batch goes on when its reader does") {
  HostFixture f;
  const auto session = open_session(f, "2025-03-26");
  const auto call = [](int id) {
    return R"({"jsonrpc":"2.0","id":)" + std::to_string(id) +
           R"(,"method":"tools/call","params":{"name":"generate_text","arguments":{"prompt":"hi","max_tokens":50,"ignore_eos":true},"_meta":{"progressToken":)" +
           std::to_string(id) + "}}}";
  };
  const auto batch = f.server.request(session_post(session, "[" + call(1) + "," + call(2) + "]", "2025-03-26"));
  for (int round = 0; round < 3; ++round) {
    batch->buffered = 1u << 20;
    f.server.advance(milliseconds(150));
    CHECK(sent_commands<Pause>(*f.engine) == 2 * static_cast<size_t>(round + 1));
    batch->client_reads();
    CHECK(sent_commands<Resume>(*f.engine) == 2 * static_cast<size_t>(round + 1));
  }
  f.server.advance(milliseconds(5'000));
  CHECK(batch->ended);
}
