// Sessions through the protocol: what is stored, in which order, what is refused, and what nobody else may see. The
// engine is fake; its tokens are bytes.
#include <catch2/catch.hpp>
#include <string>

#include "tests/transcripts/session_fixture.h"

using namespace kvasir;
using namespace kvasir::test;
using rpc::Json;
using std::chrono::milliseconds;

TEST_CASE("turns are stored and the next prompt carries them") {
  SessionFixture f;
  const auto made = f.result("create_session", {{"system", "be brief"}, {"title", "t"}});
  CHECK(made["head"].get<std::string>().size() == 64);
  CHECK(made["tokens"].get<int>() > 0);
  const std::string id = made["session_id"];
  const auto first = f.say(id, "hi");
  CHECK(first["text"] == "Once upon");
  CHECK(first["session_id"] == id);
  CHECK(first["durable"] == false);  // in memory only
  CHECK(first["head"] != made["head"]);
  f.say(id, "more");
  const auto& prompt = std::get<Generate>(f.engine->commands.back().body).prompt;
  CHECK(prompt.in_session);
  CHECK(prompt.history_text == "<system>be brief<user>hiOnce upon");
  CHECK(prompt.messages.size() == 4);
  const auto shown = f.result("get_session", {{"session_id", id}, {"transcript", true}, {"context_map", true}});
  CHECK(shown["turns"] == 5);
  CHECK(shown["title"] == "t");
  CHECK(shown["transcript"][1] == Json{{"turn", 2}, {"role", "user"}, {"content", "hi"}});
  uint64_t tokens = 0;
  for (const auto& message : shown["context_map"]["messages"]) tokens += message["tokens"].get<uint64_t>();
  CHECK(tokens == shown["tokens"]);
  CHECK(shown["context_map"]["cached_tokens"] == tokens / 64 * 64);
  CHECK(shown["context_map"]["first_miss"]["token"] == tokens / 64 * 64);
  CHECK(f.result("count_tokens", {{"session_id", id}})["tokens"] == tokens);
}

TEST_CASE("without a prompt the last answer goes on") {
  SessionFixture f;
  const auto id = f.create();
  f.say(id, "count");
  f.result("generate_text", {{"session_id", id}, {"max_tokens", 1}});
  CHECK(std::get<Generate>(f.engine->commands.back().body).prompt.kind == Prompt::Kind::kTokens);
  CHECK(f.result("get_session", {{"session_id", id}})["turns"] == 3);
}

TEST_CASE("tools and calls go through a session's turns") {
  SessionFixture f;
  const std::string id = f.create();
  const Json tools = Json::array({{{"type", "function"}, {"function", {{"name", "f"}}}}});
  const Json call{{"role", "assistant"}, {"tool_calls", {{{"function", {{"name", "f"}, {"arguments", Json::object()}}}}}}};
  const Json messages = Json::array({{{"role", "user"}, {"content", "hi"}}, call, {{"role", "tool"}, {"content", "7"}}});
  f.result("generate_text", {{"session_id", id}, {"messages", messages}, {"tools", tools}, {"enable_thinking", true}, {"max_tokens", 2}});
  const auto& first = std::get<Generate>(f.engine->commands.back().body).prompt;
  CHECK(Json::parse(first.tools_json) == tools);
  CHECK(first.enable_thinking == true);
  f.say(id, "more");
  const auto& second = std::get<Generate>(f.engine->commands.back().body).prompt;
  CHECK(second.tools_json.empty());
  CHECK_FALSE(second.enable_thinking);
  REQUIRE(second.messages.size() == 5);
  CHECK(Json::parse(second.messages[1].json) == call);
  CHECK(second.messages[2].role == "tool");
}

TEST_CASE("fork, checkpoint, rewind and restore") {
  SessionFixture f;
  const auto id = f.create();
  const auto first = f.say(id, "one");
  const auto mark = f.result("checkpoint_session", {{"session_id", id}, {"name", "early"}});
  CHECK(mark["new_bytes"] == 0);
  CHECK(mark["total_bytes"].get<int>() > 0);
  f.say(id, "two");
  const auto fork = f.result("fork_session", {{"session_id", id}, {"at", "early"}});
  CHECK(fork["head"] == first["head"]);
  CHECK(fork["shared_tokens"].get<int>() > 0);
  f.say(fork["session_id"], "other");
  CHECK(f.result("get_session", {{"session_id", id}})["turns"] == 4);
  CHECK(f.result("get_session", {{"session_id", id}})["forks"][0]["session_id"] == fork["session_id"]);
  CHECK(f.result("get_session", {{"session_id", fork["session_id"]}})["parent"]["turn"] == 2);
  const auto back = f.result("rewind_session", {{"session_id", id}, {"to", "1"}});
  CHECK(back["removed_turns"] == 3);
  const auto restored = f.result("restore_session", {{"session_id", id}, {"checkpoint_id", mark["checkpoint_id"]}});
  CHECK(restored["head"] == first["head"]);
  CHECK(restored["restored_tokens"].get<uint64_t>() + restored["recomputed_tokens"].get<uint64_t>() > 0);
  CHECK_FALSE(restored["reason"].get<std::string>().empty());
  CHECK(f.result("get_session", {{"session_id", id}, {"checkpoints", true}})["checkpoints"][0]["name"] == "early");
  CHECK(f.error("fork_session", {{"session_id", id}, {"at", "99"}}) == -32602);
}

TEST_CASE("requests of one session are answered in order, each on top of the one before") {
  SessionFixture f;
  const auto id = f.create();
  for (int i = 0; i < 3; ++i) f.send(i, "generate_text", {{"session_id", id}, {"prompt", "x"}, {"max_tokens", 1}});
  CHECK(f.engine->running() == 1);
  for (int i = 0; i < 3; ++i) CHECK(f.take()["id"] == i);
  CHECK(f.result("get_session", {{"session_id", id}})["turns"] == 6);
}

TEST_CASE("expected_head refuses the slower of two, an idempotency key answers again") {
  SessionFixture f;
  const auto id = f.create();
  const std::string head = f.say(id, "one")["head"];
  const Json params{{"session_id", id},
                    {"prompt", "two"},
                    {"max_tokens", 1},
                    {"expected_head", head.substr(0, 12)},
                    {"idempotency_key", "k1"}};
  const auto once = f.result("generate_text", params);
  const auto again = f.result("generate_text", params);
  CHECK(again["replayed"] == true);
  CHECK(again["text"] == once["text"]);
  CHECK(again["head"] == once["head"]);
  CHECK(f.result("get_session", {{"session_id", id}})["turns"] == 4);
  CHECK(f.error("generate_text", {{"session_id", id}, {"prompt", "x"}, {"expected_head", head}}) == -31005);
  const std::string now = once["head"];
  CHECK(f.error("generate_text", {{"session_id", id}, {"prompt", "x"}, {"expected_head", now.substr(0, 3)}}) == -32602);
  Json other = params;
  other["prompt"] = "three";
  CHECK(f.error("generate_text", other) == -31005);  // the key stands for "two"
  CHECK(f.say(id, "still usable").contains("head"));
}

TEST_CASE("another principal's session is unknown, in every tool") {
  SessionFixture f;
  const auto id = f.create();
  f.say(id, "mine");
  f.connection = f.server.connect(f.host->json_rpc_service(), rpc::Transport::kWebSocket, "token:other");
  const Json handle{{"session_id", id}};
  for (const char* tool :
       {"get_session", "fork_session", "checkpoint_session", "restore_session", "delete_session", "count_tokens"}) {
    INFO(tool);
    CHECK(f.error(tool, handle) == -32602);
  }
  CHECK(f.error("rewind_session", {{"session_id", id}, {"to", "0"}}) == -32602);
  CHECK(f.error("generate_text", {{"session_id", id}, {"prompt", "x"}}) == -32602);
  CHECK(f.result("list_sessions", Json::object())["sessions"].empty());
  f.result("generate_text", {{"prompt", "x"}, {"max_tokens", 1}});
  CHECK(std::get<Generate>(f.engine->commands.back().body).cache_salt == "token:other");
}

TEST_CASE("list pages, delete deletes") {
  SessionFixture f;
  for (int i = 0; i < 3; ++i) f.create({{"title", "s" + std::to_string(i)}});
  const auto page = f.result("list_sessions", {{"limit", 2}});
  CHECK(page["sessions"].size() == 2);
  CHECK(page["sessions"][0]["title"] == "s2");
  const auto rest = f.result("list_sessions", {{"limit", 2}, {"cursor", page["next_cursor"]}});
  CHECK(rest["sessions"].size() == 1);
  CHECK_FALSE(rest.contains("next_cursor"));
  const std::string id = page["sessions"][0]["session_id"];
  f.say(id, "text to delete");
  CHECK(f.result("delete_session", {{"session_id", id}})["deleted_bytes"].get<int>() > 10);
  CHECK(f.error("get_session", {{"session_id", id}}) == -32602);
}

TEST_CASE("a cancelled turn leaves the session as it was, and the next one runs") {
  SessionFixture f;
  const auto id = f.create();
  const std::string head = f.say(id, "one")["head"];
  f.send(7, "generate_text", {{"session_id", id}, {"prompt", "!hang"}});
  f.send(8, "generate_text", {{"session_id", id}, {"prompt", "waits"}, {"max_tokens", 1}});
  f.connection->receive(R"({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}})");
  const auto cancelled = f.take();
  CHECK(cancelled["id"] == 7);
  CHECK(cancelled["result"]["finish_reason"] == "cancelled");
  CHECK(cancelled["result"]["head"] == head);
  CHECK(cancelled["result"]["durable"] == false);
  CHECK(f.take()["id"] == 8);
  CHECK(f.result("get_session", {{"session_id", id}})["turns"] == 4);
}

TEST_CASE("a cancel while waiting for the session ends that call alone") {
  SessionFixture f;
  const auto id = f.create();
  f.send(1, "generate_text", {{"session_id", id}, {"prompt", "a"}, {"max_tokens", 5}});
  f.send(2, "generate_text", {{"session_id", id}, {"prompt", "b"}, {"max_tokens", 1}});
  f.connection->receive(R"({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}})");
  CHECK(f.take()["id"] == 1);
  CHECK(f.take()["error"]["code"] == -31002);
  CHECK(f.result("get_session", {{"session_id", id}})["turns"] == 2);
}

TEST_CASE("a failed turn stores nothing and frees the session") {
  SessionFixture f;
  const auto id = f.create();
  CHECK(f.error("generate_text", {{"session_id", id}, {"prompt", "!fail too_large"}}) == -32602);
  CHECK(f.result("get_session", {{"session_id", id}})["turns"] == 0);
  CHECK(f.say(id, "fine").contains("head"));
}

TEST_CASE("the session's overflow policy holds unless the call brings another") {
  SessionFixture f;
  const auto id = f.create({{"overflow", "sliding_window"}});
  f.say(id, "x");
  CHECK(std::get<Generate>(f.engine->commands.back().body).overflow == OverflowPolicy::kSlidingWindow);
  f.result("generate_text", {{"session_id", id}, {"prompt", "y"}, {"max_tokens", 1}, {"overflow", "error"}});
  CHECK(std::get<Generate>(f.engine->commands.back().body).overflow == OverflowPolicy::kError);
  CHECK(f.error("create_session", {{"overflow", "nonsense"}}) == -32602);
}

TEST_CASE("what does not go with a session is refused") {
  SessionFixture f;
  const auto id = f.create({{"system", "s"}});
  CHECK(f.error("generate_text", {{"session_id", id}, {"prompt", "x"}, {"raw", true}}) == -32602);
  CHECK(f.error("generate_text", {{"session_id", id}, {"tokens", {1, 2}}}) == -32602);
  CHECK(f.error("generate_text", {{"session_id", id}, {"prompt", "x"}, {"system", "another"}}) == -32602);
  CHECK(f.error("create_session", {{"sytem", "typo"}}) == -32602);
}

TEST_CASE("a full quota is told before anything is computed, and what does not fit leaves no half session") {
  mcp::HostOptions options;
  options.open_sessions = [] {
    StoreOptions store;
    store.limits.max_bytes_per_principal = 300;
    return open_memory_session_store(store);
  };
  SessionFixture f({}, options);
  const auto id = f.create();
  CHECK(f.error("create_session", {{"system", std::string(301, 'x')}}) == -32602);
  CHECK(f.result("list_sessions", Json::object())["sessions"].size() == 1);
  const Json late = f.say(id, std::string(280, 'x'));  // tokens too: more than there is room for
  CHECK(late["not_stored"].get<std::string>().find("delete_session") != std::string::npos);
  CHECK(late["text"] == "Once upon");
  const auto full = f.create({{"system", std::string(300, 'x')}});
  const Json storage = f.result("get_session", {{"session_id", full}})["storage"];
  CHECK(storage["session_bytes"] == 300);
  CHECK(storage["conversation_bytes"] == 300);
  CHECK(storage["conversation_max_bytes"] == 300);
  const size_t asked = f.engine->commands.size();
  CHECK(f.error("generate_text", {{"session_id", id}, {"prompt", "hi"}}) == -32602);
  CHECK(f.engine->commands.size() == asked);
  f.result("delete_session", {{"session_id", full}});
  CHECK(f.result("generate_text", {{"session_id", id}, {"prompt", "hi"}, {"max_tokens", 1}})["text"] == "Once");
}

TEST_CASE("a store that cannot be opened says why and everything else goes on") {
  mcp::HostOptions options;
  int tries = 0;
  options.open_sessions = [&tries]() -> Result<std::unique_ptr<SessionStore>> {
    if (++tries < 2) return Failure(Code::kConflict, "another process uses this data folder");
    return open_memory_session_store();
  };
  SessionFixture f({}, options);
  CHECK(f.error("create_session", Json::object()) == -31005);
  CHECK(f.result("generate_text", {{"prompt", "x"}, {"max_tokens", 1}})["text"] == "Once");
  CHECK(f.result("create_session", Json::object()).contains("session_id"));
}

TEST_CASE("at the end of the server waiting turns are refused, none is left unanswered") {
  SessionFixture f;
  const auto id = f.create();
  f.send(1, "generate_text", {{"session_id", id}, {"prompt", "!hang"}});
  f.send(2, "generate_text", {{"session_id", id}, {"prompt", "b"}});
  f.host->shutdown();
  CHECK(f.connection->sent.size() == 2);
}

TEST_CASE("compress measures, refuses above the limit, and can be taken back") {
  SessionFixture f;
  const auto id = f.create();
  f.say(id, std::string(300, 'x'));
  const auto before = f.result("get_session", {{"session_id", id}});
  const auto dry = f.result("compress_session", {{"session_id", id}, {"dry_run", true}});
  CHECK(dry["applied"] == false);
  CHECK(dry["strategy"] == "sliding_window");
  CHECK(dry["tokens_before"] == before["tokens"]);
  const auto half = before["tokens"].get<uint64_t>() / 2;
  CHECK(dry["tokens_after"].get<uint64_t>() + 64 > half);
  CHECK(dry["tokens_after"].get<uint64_t>() < half + 64);
  CHECK(dry["bytes_before"] == before["tokens"].get<uint64_t>() * 100);
  CHECK(dry["bytes_after"] == dry["tokens_after"].get<uint64_t>() * 100);
  CHECK(dry["dnll"] == 0.0);
  CHECK(dry["top1_agree"] == 1.0);
  CHECK(f.result("get_session", {{"session_id", id}})["head"] == before["head"]);
  f.engine->options.compare_cost = 1000;
  const auto refused = f.result("compress_session", {{"session_id", id}, {"max_quality_loss", 5}});
  CHECK(refused["applied"] == false);
  CHECK(refused["verdict"].get<std::string>().find("refused") == 0);
  CHECK(f.result("get_session", {{"session_id", id}})["head"] == before["head"]);
  f.engine->options.compare_cost = 0;
  const auto done = f.result("compress_session", {{"session_id", id}, {"target_tokens", 100}});
  CHECK(done["applied"] == true);
  const uint64_t kept = done["tokens_after"];
  const auto after = f.result("get_session", {{"session_id", id}, {"transcript", true}});
  CHECK(after["tokens"] == kept);
  CHECK(after["head"] == done["head"]);
  CHECK(after["transcript"][2]["role"] == "compression");
  f.say(id, "more");
  CHECK(std::get<Generate>(f.engine->commands.back().body).prompt.history_tokens.size() == kept);
  CHECK(std::get<Generate>(f.engine->commands.back().body).prompt.history_stages.size() == 1);
  CHECK(std::get<Generate>(f.engine->commands.back().body).prompt.messages.size() == 3);
  f.result("restore_session", {{"session_id", id}, {"checkpoint_id", done["checkpoint_before"]}});
  CHECK(f.result("get_session", {{"session_id", id}})["tokens"] == before["tokens"]);
  const auto quantised = f.result("compress_session", {{"session_id", id}, {"strategy", "kv_quantize"}});
  CHECK(quantised["applied"] == true);
  CHECK(quantised["ratio"] == 0.0);
  CHECK(quantised["bytes_after"] < quantised["bytes_before"]);
  CHECK(f.result("get_session", {{"session_id", id}})["tokens"] == before["tokens"]);
  CHECK(f.error("compress_session", {{"session_id", id}, {"strategy", "kv_quantize"}, {"target_ratio", 0.5}}) == -32602);
  CHECK(f.error("compress_session", {{"session_id", id}, {"focus", "the code"}}) == -32602);
  CHECK(f.error("compress_session", {{"session_id", id}, {"strategy", "hierarchical"}}) == -32602);  // nothing old yet
  CHECK(f.error("compress_session", {{"session_id", id}, {"target_tokens", 100'000}}) == -32602);
  CHECK(f.error("compress_session", {{"session_id", id}, {"target_tokens", 100}, {"target_ratio", 0.5}}) == -32602);
}
