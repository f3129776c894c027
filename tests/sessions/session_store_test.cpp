// The durable store: what was acknowledged stays, heads move only as allowed, and nobody sees another's sessions.
#include "sessions/session_store.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

namespace kvasir {
namespace {

namespace fs = std::filesystem;

struct TempFolder {
  fs::path path =
      fs::temp_directory_path() / ("kvasir-store-" + std::to_string(std::rand()) + std::to_string(::getpid()));
  TempFolder() { fs::create_directories(path); }
  ~TempFolder() { fs::remove_all(path); }
};

std::unique_ptr<SessionStore> open(const TempFolder& folder) {
  auto store = open_session_store(folder.path.string());
  REQUIRE(store);
  return std::move(*store);
}

Turn turn(const std::string& role, const std::string& content, std::vector<TokenId> tokens) {
  Turn t;
  t.role = role;
  t.content = content;
  t.tokens = std::move(tokens);
  t.rendered = content;
  return t;
}

SessionRecord new_session(SessionStore& store, const std::string& principal = "local") {
  SessionRecord r;
  r.principal = principal;
  auto created = store.create(r);
  REQUIRE(created);
  return *created;
}

std::vector<Turn> say(SessionStore& store, const std::string& id, const std::string& text) {
  auto session = store.get("local", id);
  REQUIRE(session);
  AppendTurns a{"local",
                id,
                std::nullopt,
                session->head,
                {turn("user", text, {1, 2}), turn("assistant", text + "!", {3})},
                "m",
                "f",
                "",
                ""};
  auto stored = store.append(a);
  REQUIRE(stored);
  return *stored;
}

TEST_CASE("an acknowledged turn is there after the store is opened again") {
  TempFolder folder;
  std::string id;
  {
    auto store = open(folder);
    id = new_session(*store).id;
    say(*store, id, "hello");
  }
  auto store = open(folder);
  auto session = store->get("local", id);
  REQUIRE(session);
  auto turns = store->path("local", session->head);
  REQUIRE(turns);
  REQUIRE(turns->size() == 2);
  CHECK(turns->at(0).content == "hello");
  CHECK(turns->at(0).tokens == std::vector<TokenId>{1, 2});
  CHECK(turns->at(1).number == 2);
  CHECK(turns->at(1).hash.size() == 64);
}

TEST_CASE("another principal's session is unknown") {
  auto store = open_memory_session_store();
  REQUIRE(store);
  const auto id = new_session(**store, "alice").id;
  auto seen = (*store)->get("bob", id);
  REQUIRE_FALSE(seen);
  CHECK(seen.error().code == Code::kNotFound);
  CHECK_FALSE((*store)->remove("bob", id));
  CHECK((*store)->list("bob", 10, "")->sessions.empty());
}

TEST_CASE("a stale head is refused and changes nothing") {
  auto store = open_memory_session_store();
  REQUIRE(store);
  const auto id = new_session(**store).id;
  const auto first = say(**store, id, "one");
  const auto head_before = (*store)->get("local", id)->head;
  AppendTurns stale{"local", id, first[0].hash, head_before, {turn("user", "two", {5})}, "m", "f", "", ""};
  auto refused = (*store)->append(stale);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::kConflict);
  CHECK((*store)->get("local", id)->head == head_before);
  stale.expected_head = first[1].hash.substr(0, 12);
  CHECK((*store)->append(stale));
}

TEST_CASE("fork shares turns and rewind moves only one head") {
  auto store = open_memory_session_store();
  REQUIRE(store);
  const auto id = new_session(**store).id;
  const auto first = say(**store, id, "one");
  say(**store, id, "two");
  auto forked = (*store)->fork("local", id, first[1].node, "branch");
  REQUIRE(forked);
  CHECK(forked->head == first[1].node);
  CHECK(forked->parent_turn == 2);
  say(**store, forked->id, "other");
  REQUIRE((*store)->set_head("local", id, first[1].node));
  CHECK((*store)->path("local", (*store)->get("local", id)->head)->size() == 2);
  CHECK((*store)->path("local", (*store)->get("local", forked->id)->head)->size() == 4);
  CHECK((*store)->children("local", id)->size() == 1);
}

TEST_CASE("delete removes what only this session reached, from the file too") {
  TempFolder folder;
  auto store = open(folder);
  const auto id = new_session(*store).id;
  const auto shared = say(*store, id, "shared words");
  say(*store, id, "SECRETWORDSECRETWORD");
  auto forked = store->fork("local", id, shared[1].node, "");
  REQUIRE(forked);
  auto bytes = store->remove("local", id);
  REQUIRE(bytes);
  CHECK(*bytes > 20);
  CHECK(store->path("local", forked->head)->size() == 2);
  for (const auto& entry : fs::directory_iterator(folder.path)) {
    std::ifstream in(entry.path(), std::ios::binary);
    const std::string all((std::istreambuf_iterator<char>(in)), {});
    INFO(entry.path());
    CHECK(all.find("SECRETWORDSECRETWORD") == std::string::npos);
  }
}

TEST_CASE("a turn changed on disk is refused by itself") {
  TempFolder folder;
  std::string bad, good;
  {
    auto store = open(folder);
    bad = new_session(*store).id;
    say(*store, bad, "ORIGINALTEXT");
    good = new_session(*store).id;
    say(*store, good, "fine");
    REQUIRE(store->collect_garbage(0));  // moves the WAL into the file
  }
  {
    const fs::path file = folder.path / "meta.db";
    std::ifstream in(file, std::ios::binary);
    std::string all((std::istreambuf_iterator<char>(in)), {});
    in.close();
    size_t changed = 0;
    for (size_t at = 0; (at = all.find("ORIGINALTEXT", at)) != std::string::npos; ++at, ++changed) all[at] = 'X';
    REQUIRE(changed > 0);
    std::ofstream(file, std::ios::binary) << all;
  }
  auto store = open(folder);
  auto broken = store->path("local", store->get("local", bad)->head);
  REQUIRE_FALSE(broken);
  CHECK(broken.error().code == Code::kCorrupt);
  CHECK(store->path("local", store->get("local", good)->head));
  CHECK(store->verify()->size() == 1);
}

TEST_CASE("a second process on the folder and a newer store are refused with the reason") {
  TempFolder folder;
  auto store = open(folder);
  auto second = open_session_store(folder.path.string());
  REQUIRE_FALSE(second);
  CHECK(second.error().code == Code::kConflict);
}

TEST_CASE("an idempotency key gives the first reply again") {
  auto store = open_memory_session_store();
  REQUIRE(store);
  const auto id = new_session(**store).id;
  AppendTurns a{"local", id, std::nullopt, 0, {turn("user", "x", {1})}, "m", "f", "key-1", R"({"text":"y"})"};
  REQUIRE((*store)->append(a));
  CHECK((*store)->replayed("local", id, "key-1")->value().reply_json == R"({"text":"y"})");
  CHECK_FALSE((*store)->replayed("local", id, "key-2")->has_value());
}

TEST_CASE("expired sessions are unknown, then collected") {
  auto store = open_memory_session_store();
  REQUIRE(store);
  SessionRecord r;
  r.principal = "local";
  r.ttl_seconds = 1;
  const auto created = (*store)->create(r);
  REQUIRE(created);
  CHECK(*(*store)->collect_garbage(created->updated_at_ms + 500) == 0);
  CHECK(*(*store)->collect_garbage(created->updated_at_ms + 2000) == 1);
  CHECK_FALSE((*store)->get("local", created->id));
}

TEST_CASE("list pages through all sessions, newest first, and refuses a made-up cursor") {
  auto store = open_memory_session_store();
  REQUIRE(store);
  for (int i = 0; i < 5; ++i) new_session(**store);
  auto first = (*store)->list("local", 2, "");
  REQUIRE(first->next_cursor);
  auto second = (*store)->list("local", 2, *first->next_cursor);
  auto third = (*store)->list("local", 2, *second->next_cursor);
  CHECK(first->sessions.size() + second->sessions.size() + third->sessions.size() == 5);
  CHECK_FALSE(third->next_cursor);
  CHECK_FALSE((*store)->list("local", 2, "1; DROP TABLE"));
}

}  // namespace
}  // namespace kvasir
