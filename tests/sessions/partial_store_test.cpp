// Answers that are not finished, in the store: beside their session until they are adopted, replaced or dropped; no
// head moves, no hash changes, and nothing of them stays behind.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "sessions/session_store.h"

namespace kvasir {
namespace {

namespace fs = std::filesystem;

Turn turn(const std::string& role, const std::string& content) {
  Turn t;
  t.role = role;
  t.content = t.rendered = content;
  for (const char c : content) t.tokens.push_back(c);
  return t;
}

struct Lab {
  std::unique_ptr<SessionStore> store = std::move(*open_memory_session_store());
  std::string id = [this] {
    SessionRecord r;
    r.principal = "local";
    return store->create(r)->id;
  }();

  TurnNode head() { return store->get("local", id)->head; }
  AppendTurns turns(const std::string& question, const std::string& answer) {
    return {"local", id, std::nullopt, head(), {turn("user", question), turn("assistant", answer)}, "m", "f", "", ""};
  }
  std::vector<Turn> said() { return *store->path("local", head()); }
  std::optional<PartialTurns> partial() { return *store->partial("local", id); }
};

TEST_CASE("what there is of an answer is kept beside its session, the last of it only") {
  Lab lab;
  REQUIRE(lab.store->append(lab.turns("one", "first")));
  const auto before = lab.said();
  REQUIRE(lab.store->save_partial(lab.turns("two", "sec")));
  REQUIRE(lab.store->save_partial(lab.turns("two", "second, but")));
  CHECK(lab.said().size() == 2);
  CHECK(lab.said().back().hash == before.back().hash);
  const auto kept = lab.partial();
  REQUIRE(kept);
  REQUIRE(kept->turns.size() == 2);
  CHECK(kept->turns[0].content == "two");
  CHECK(kept->turns[1].content == "second, but");
  CHECK(kept->turns[1].number == 4);
  CHECK(kept->turns[1].tokens.size() == 11);
  CHECK(kept->saved_at_ms > 0);
  CHECK(lab.store->verify()->empty());
}

TEST_CASE("the finished answer takes the place of what there was of it, with the hashes of an answer never kept") {
  Lab lab, plain;
  for (Lab* each : {&lab, &plain}) REQUIRE(each->store->append(each->turns("one", "first")));
  REQUIRE(lab.store->save_partial(lab.turns("two", "sec")));
  REQUIRE(lab.store->append(lab.turns("two", "second")));
  REQUIRE(plain.store->append(plain.turns("two", "second")));
  CHECK_FALSE(lab.partial());
  CHECK(lab.said().size() == 4);
  CHECK(lab.said().back().number == plain.said().back().number);
  const auto deleted = lab.store->remove("local", lab.id);
  CHECK(*deleted == *plain.store->remove("local", plain.id));  // nothing lay about
}

TEST_CASE("adopted, what was kept is the session's, word by word") {
  Lab lab;
  REQUIRE(lab.store->save_partial(lab.turns("one", "fir")));
  const auto kept = lab.partial();
  REQUIRE(kept);
  REQUIRE(lab.store->adopt_partial("local", lab.id));
  CHECK_FALSE(lab.partial());
  REQUIRE(lab.said().size() == 2);
  CHECK(lab.said().back().hash == kept->turns.back().hash);
  CHECK(lab.store->get("local", lab.id)->fingerprint == "f");
  CHECK(lab.store->adopt_partial("local", lab.id).error().code == Code::kNotFound);
  CHECK(lab.store->verify()->empty());
}

TEST_CASE("another head drops it, the same one does not") {
  Lab lab;
  REQUIRE(lab.store->append(lab.turns("one", "first")));
  REQUIRE(lab.store->save_partial(lab.turns("two", "sec")));
  REQUIRE(lab.store->set_head("local", lab.id, lab.head()));
  CHECK(lab.partial());
  const auto fork = lab.store->fork("local", lab.id, lab.head(), "");
  REQUIRE(fork);
  CHECK_FALSE(*lab.store->partial("local", fork->id));
  REQUIRE(lab.store->set_head("local", lab.id, 0));
  CHECK_FALSE(lab.partial());
}

TEST_CASE("what does not follow the head is refused, and so is another principal") {
  Lab lab;
  AppendTurns stale = lab.turns("two", "sec");
  REQUIRE(lab.store->append(lab.turns("one", "first")));
  CHECK(lab.store->save_partial(stale).error().code == Code::kConflict);
  REQUIRE(lab.store->save_partial(lab.turns("two", "sec")));
  CHECK(lab.store->partial("bob", lab.id).error().code == Code::kNotFound);
  CHECK(lab.store->adopt_partial("bob", lab.id).error().code == Code::kNotFound);
  CHECK(lab.store->drop_partial("bob", lab.id).error().code == Code::kNotFound);
  CHECK(lab.partial());
  REQUIRE(lab.store->drop_partial("local", lab.id));
  CHECK_FALSE(lab.partial());
}

TEST_CASE("collecting garbage leaves it, deleting the session leaves nothing of it in the file") {
  const fs::path folder = fs::temp_directory_path() / ("kvasir-partials-" + std::to_string(::getpid()));
  {
    Lab lab;
    lab.store = std::move(*open_session_store(folder));
    SessionRecord record;
    record.principal = "local";
    lab.id = lab.store->create(record)->id;
    REQUIRE(lab.store->save_partial(lab.turns("SECRETQUESTION", "SECRETANSWER")));
    REQUIRE(lab.store->collect_garbage(0));
    CHECK(lab.partial());
    REQUIRE(lab.store->save_partial(lab.turns("OTHERQUESTION", "OTHERANSWER")));
    CHECK(*lab.store->remove("local", lab.id) > 20);
    for (const auto& entry : fs::directory_iterator(folder)) {
      std::ifstream in(entry.path(), std::ios::binary);
      const std::string all((std::istreambuf_iterator<char>(in)), {});
      INFO(entry.path());
      for (const char* word : {"SECRETQUESTION", "SECRETANSWER", "OTHERQUESTION", "OTHERANSWER"})
        CHECK(all.find(word) == std::string::npos);
    }
  }
  fs::remove_all(folder);
}

TEST_CASE("a long question is written once, however often its answer grows") {
  Lab lab;
  const std::string question(100'000, 'q');
  REQUIRE(lab.store->save_partial(lab.turns(question, "a")));
  const TurnNode first = lab.partial()->turns[0].node;
  for (int i = 2; i < 5; ++i) REQUIRE(lab.store->save_partial(lab.turns(question, std::string(static_cast<size_t>(i), 'a'))));
  CHECK(lab.partial()->turns[0].node == first);
  REQUIRE(lab.store->save_partial(lab.turns(question + "?", "a")));
  CHECK(lab.partial()->turns[0].node != first);
}

}  // namespace
}  // namespace kvasir
