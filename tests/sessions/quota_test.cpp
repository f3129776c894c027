// What one principal may store: counted exactly through everything that adds or takes away, refused above the quota with
// what to do, and nobody else's business.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "sessions/database.h"
#include "sessions/session_store.h"

namespace kvasir {
namespace {

namespace fs = std::filesystem;

struct Lab {
  explicit Lab(uint64_t quota = 1u << 20) {
    StoreOptions options;
    options.limits.max_bytes_per_principal = quota;
    store = std::move(*open_memory_session_store(options));
  }
  std::string create(const std::string& principal = "local") {
    SessionRecord r;
    r.principal = principal;
    return store->create(r)->id;
  }
  AppendTurns turn(const std::string& id, size_t bytes, const std::string& principal = "local") {
    Turn t;
    t.role = "user";
    t.content = std::string(bytes, 'x');
    return {principal, id, std::nullopt, store->get(principal, id)->head, {t}, "m", "f", "", ""};
  }
  uint64_t used(const std::string& principal = "local") { return store->usage(principal)->bytes; }

  std::unique_ptr<SessionStore> store;
};

TEST_CASE("one byte below the quota is stored, one above is refused with the numbers and what to do") {
  Lab lab(1000);
  const auto id = lab.create();
  REQUIRE(lab.store->append(lab.turn(id, 400)));
  const auto refused = lab.store->append(lab.turn(id, 601));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::kTooLarge);
  for (const char* word : {"400", "601", "1000", "delete_session", "--quota-conversation-mb"})
    CHECK(refused.error().message.find(word) != std::string::npos);
  CHECK(lab.used() == 400);
  REQUIRE(lab.store->append(lab.turn(id, 600)));
  CHECK(lab.used() == 1000);
  CHECK_FALSE(lab.store->append(lab.turn(id, 1)));
  CHECK(lab.store->append(lab.turn(lab.create("bob"), 1000, "bob")));  // another's quota is another's
  CHECK(lab.store->usage("local")->max_bytes == 1000);
}

TEST_CASE("what is deleted may be stored again, and a fork takes nothing until it goes on") {
  Lab lab(1000);
  const auto id = lab.create();
  REQUIRE(lab.store->append(lab.turn(id, 900)));
  const auto fork = lab.store->fork("local", id, lab.store->get("local", id)->head, "");
  REQUIRE(fork);
  CHECK(lab.used() == 900);
  REQUIRE(lab.store->remove("local", id));
  CHECK(lab.used() == 900);  // the fork has it
  REQUIRE(lab.store->remove("local", fork->id));
  CHECK(lab.used() == 0);
  CHECK(lab.store->append(lab.turn(lab.create(), 1000)));
}

TEST_CASE("turns that a rewind left behind count until they are collected") {
  Lab lab;
  const auto id = lab.create();
  REQUIRE(lab.store->append(lab.turn(id, 300)));
  REQUIRE(lab.store->set_head("local", id, 0));
  CHECK(lab.used() == 300);
  REQUIRE(lab.store->collect_garbage(0));
  CHECK(lab.used() == 0);
}

TEST_CASE("unfinished answers and kept replies count, and go with what they belong to") {
  Lab lab(1000);
  const auto id = lab.create();
  REQUIRE(lab.store->save_partial(lab.turn(id, 100)));
  REQUIRE(lab.store->save_partial(lab.turn(id, 200)));
  CHECK(lab.used() == 200);
  CHECK(lab.store->save_partial(lab.turn(id, 1001)).error().code == Code::kTooLarge);
  AppendTurns done = lab.turn(id, 300);
  done.idempotency_key = "k";
  done.reply_json = std::string(50, 'r');
  REQUIRE(lab.store->append(done));
  CHECK(lab.used() == 350);
  AppendTurns more = lab.turn(id, 300);
  more.idempotency_key = "l";
  more.reply_json = std::string(400, 'r');
  CHECK(lab.store->append(more).error().code == Code::kTooLarge);
  CHECK(lab.used() == 350);
  CHECK(lab.store->principals()->front().bytes == 350);
  CHECK(lab.store->verify()->empty());
  REQUIRE(lab.store->remove("local", id));
  CHECK(lab.used() == 0);
}

TEST_CASE("a store of a build that counted nothing is counted when it is opened") {
  const fs::path folder = fs::temp_directory_path() / ("kvasir-quota-" + std::to_string(::getpid()));
  Lab lab;
  lab.store = std::move(*open_session_store(folder));
  const auto id = lab.create();
  AppendTurns said = lab.turn(id, 700);
  said.idempotency_key = "k";
  said.reply_json = std::string(11, 'r');
  REQUIRE(lab.store->append(said));
  lab.store.reset();
  {
    auto db = Database::open(folder / "meta.db");
    REQUIRE(db);
    REQUIRE((*db)->execute("DROP TABLE usage; DROP TRIGGER nodes_added; DROP TRIGGER nodes_gone;"
                           "DROP TRIGGER replies_added; DROP TRIGGER replies_gone; DROP TABLE partials;"));
  }
  lab.store = std::move(*open_session_store(folder));
  CHECK(lab.used() == 711);
  REQUIRE(lab.store->append(lab.turn(id, 9)));
  CHECK(lab.used() == 720);
  REQUIRE(lab.store->save_partial(lab.turn(id, 5)));
  CHECK(lab.store->verify()->empty());
  lab.store.reset();
  fs::remove_all(folder);
}

}  // namespace
}  // namespace kvasir
