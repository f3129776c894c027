// An answer that is being written, through the protocol: visible beside its session, kept when its end does not come,
// gone when it does; and never taken for a turn unless somebody goes on with it.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <memory>
#include <string>

#include "tests/transcripts/session_fixture.h"

using namespace kvasir;
using namespace kvasir::test;
using std::chrono::milliseconds;

namespace {

/// A token takes 10 ms, and after every second one what there is is kept.
struct Fixture {
  Fixture() {
    mcp::HostOptions options;
    options.autosave_tokens = 2;
    f = std::make_unique<SessionFixture>(FakeEngineOptions{}, options);
    id = f->create();
    head = f->say(id, "one")["head"];
  }
  /// A turn of which four tokens are kept and a fifth was said.
  void write(int request = 7) {
    f->send(request, "generate_text", {{"session_id", id}, {"prompt", "two"}, {"max_tokens", 8}});
    f->server.advance(milliseconds(55));
  }
  Json session() { return f->at_once("get_session", {{"session_id", id}, {"transcript", true}}); }
  void leave() {
    f->connection->disconnect();
    f->server.advance(milliseconds(1000));
    f->connection = f->server.connect(f->host->json_rpc_service());
  }

  std::unique_ptr<SessionFixture> f;
  std::string id, head;
};

}  // namespace

TEST_CASE("an answer that is being written is beside its session, no turn of it") {
  Fixture x;
  x.write();
  const Json during = x.session();
  CHECK(during["partial"]["state"] == "running");
  CHECK(during["partial"]["content"] == FakeEngine::text(4));
  CHECK(during["partial"]["tokens"] == FakeEngine::text(4).size());
  CHECK(during["partial"]["prompt"] == "two");
  CHECK(during["partial"]["turn"] == 4);
  CHECK(during["head"] == x.head);
  CHECK(during["turns"] == 2);
  CHECK(x.f->take()["result"]["text"] == FakeEngine::text(8));
  const Json after = x.session();
  CHECK_FALSE(after.contains("partial"));
  CHECK(after["turns"] == 4);
  CHECK_FALSE(after["transcript"][3].contains("interrupted"));
}

TEST_CASE("of an answer whose reader left everything is kept, and it goes on when nothing else is asked") {
  Fixture x;
  x.write();
  x.leave();
  const Json left = x.session();
  CHECK(left["partial"]["state"] == "interrupted");
  CHECK(left["partial"]["content"] == FakeEngine::text(5));  // also what came after the last save
  CHECK(left["head"] == x.head);
  CHECK(left["turns"] == 2);
  const Json more = x.f->result("generate_text", {{"session_id", x.id}, {"max_tokens", 1}, {"expected_head", x.head}});
  CHECK(more["continued_tokens"] == FakeEngine::text(5).size());
  CHECK_FALSE(more.contains("dropped_tokens"));
  const auto& prompt = std::get<Generate>(x.f->engine->commands.back().body).prompt;
  CHECK(prompt.kind == Prompt::Kind::kTokens);
  CHECK(prompt.history_text.ends_with("<user>two" + FakeEngine::text(5)));
  const Json after = x.session();
  CHECK_FALSE(after.contains("partial"));
  REQUIRE(after["turns"] == 5);
  CHECK(after["transcript"][3]["content"] == FakeEngine::text(5));
  CHECK(after["transcript"][3]["interrupted"] == true);
  CHECK_FALSE(after["transcript"][4].contains("interrupted"));
}

TEST_CASE("another question takes the place of an interrupted answer, and the reply says so") {
  Fixture x;
  x.write();
  x.leave();
  const Json other = x.f->say(x.id, "three");
  CHECK(other["dropped_tokens"] == FakeEngine::text(5).size());
  const Json after = x.session();
  CHECK_FALSE(after.contains("partial"));
  REQUIRE(after["turns"] == 4);
  CHECK(after["transcript"][2]["content"] == "three");
}

TEST_CASE("an answer that the caller took back leaves nothing") {
  Fixture x;
  x.write();
  CHECK(x.session().contains("partial"));
  x.f->connection->receive(R"({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}})");
  CHECK(x.f->take()["result"]["finish_reason"] == "cancelled");
  const Json after = x.session();
  CHECK_FALSE(after.contains("partial"));
  CHECK(after["head"] == x.head);
}

TEST_CASE("the end of the server keeps what there is of every session's answer") {
  const auto folder = std::filesystem::temp_directory_path() / ("kvasir-partial-" + std::to_string(::getpid()));
  mcp::HostOptions options;
  options.autosave_tokens = 0;  // only the end saves
  options.open_sessions = [folder] { return open_session_store(folder); };
  std::string id, head;
  {
    SessionFixture f({}, options);
    id = f.create();
    head = f.say(id, "one")["head"];
    f.send(7, "generate_text", {{"session_id", id}, {"prompt", "two"}, {"max_tokens", 8}});
    f.server.advance(milliseconds(35));
    f.host->shutdown();
    const Json refused = f.front();
    CHECK(refused["error"]["message"].get<std::string>().find("no prompt it goes on") != std::string::npos);
  }
  {
    auto store = open_session_store(folder);
    REQUIRE(store);
    const auto partial = (*store)->partial("local", id);
    REQUIRE(partial);
    REQUIRE(*partial);
    CHECK((*partial)->turns.back().content == FakeEngine::text(3));
    CHECK((*store)->path("local", (*store)->get("local", id)->head)->back().hash == head);
  }
  std::filesystem::remove_all(folder);
}
