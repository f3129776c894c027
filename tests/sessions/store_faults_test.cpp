// Disks that fail: full, broken, lying about fsync, without power. What was acknowledged is there afterwards, what was
// not is refused with the reason, and nothing wrong is ever served.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "sessions/session_store.h"
#include "tests/sessions/fault_disk.h"

using namespace kvasir;
using namespace kvasir::test;
namespace fs = std::filesystem;

namespace {

struct TempFolder {
  fs::path path;
  TempFolder() {
    static int count = 0;
    path = fs::temp_directory_path() / ("kvasir-faults-" + std::to_string(::getpid()) + "-" + std::to_string(count++));
    fs::create_directories(path);
  }
  ~TempFolder() { fs::remove_all(path); }
};

std::string text_of(int number) {
  return "turn " + std::to_string(number) + std::string(number % 5 * 700, 'x');
}

Result<std::vector<Turn>> say(SessionStore& store, const std::string& id, int number) {
  const auto session = KVASIR_TRY(store.get("local", id));
  Turn turn;
  turn.role = "user";
  turn.content = turn.rendered = text_of(number);
  turn.tokens = {number, number + 1};
  return store.append({"local", id, std::nullopt, session.head, {turn}, "m", "f", "", ""});
}

/// The turns of the session, which must be text_of(0), text_of(1), ...; how many there are.
size_t checked_turns(SessionStore& store, const std::string& id) {
  const auto session = store.get("local", id);
  REQUIRE(session);
  const auto turns = store.path("local", session->head);
  if (!turns) FAIL(turns.error().message);
  for (size_t i = 0; i < turns->size(); ++i) {
    REQUIRE(turns->at(i).content == text_of(static_cast<int>(i)));
    REQUIRE(turns->at(i).tokens == std::vector<TokenId>{static_cast<int>(i), static_cast<int>(i) + 1});
  }
  return turns->size();
}

StoreOptions on_fault_disk() {
  StoreOptions options;
  options.vfs = FaultDisk::kName;
  return options;
}

std::string make_session(SessionStore& store) {
  SessionRecord record;
  record.principal = "local";
  const auto made = store.create(record);
  REQUIRE(made);
  return made->id;
}

}  // namespace

TEST_CASE("a full disk refuses the turn with the reason, and the store goes on when there is room again") {
  for (int nth = 1; nth < 12; ++nth) {
    INFO("write " << nth);
    TempFolder folder;
    FaultDisk disk;
    auto store = open_session_store(folder.path, on_fault_disk());
    REQUIRE(store);
    const auto id = make_session(**store);
    REQUIRE(say(**store, id, 0));
    disk.fail(FaultDisk::Fault::kFull, nth);
    const auto refused = say(**store, id, 1);
    if (!disk.fired()) break;
    if (!refused) {
      CHECK(refused.error().code == Code::kTooLarge);
      CHECK(refused.error().message.find("full") != std::string::npos);
    }
    disk.heal();
    const size_t there = checked_turns(**store, id);
    CHECK(there == (refused ? 2 : 1));
    REQUIRE(say(**store, id, static_cast<int>(there)));
    CHECK(checked_turns(**store, id) == there + 1);
  }
}

TEST_CASE("after a failed fsync nothing is acknowledged until a restart, though the next fsync says all is well") {
  TempFolder folder;
  FaultDisk disk;
  std::string id;
  {
    auto store = open_session_store(folder.path, on_fault_disk());
    REQUIRE(store);
    id = make_session(**store);
    REQUIRE(say(**store, id, 0));
    disk.fail(FaultDisk::Fault::kSyncError, 1);
    const auto failed = say(**store, id, 1);
    REQUIRE_FALSE(failed);
    CHECK(disk.fired());
    CHECK(failed.error().code == Code::kIo);
    const auto later = say(**store, id, 1);
    REQUIRE_FALSE(later);
    CHECK(later.error().code == Code::kUnavailable);
    CHECK(later.error().message.find("restart") != std::string::npos);
    CHECK((*store)->get("local", id));  // reading goes on
  }
  auto again = open_session_store(folder.path, on_fault_disk());
  REQUIRE(again);
  const size_t there = checked_turns(**again, id);
  CHECK(there >= 1);
  CHECK(say(**again, id, static_cast<int>(there)));
}

TEST_CASE("a write error at any write loses nothing that was acknowledged") {
  for (int nth = 1; nth < 12; ++nth) {
    INFO("write " << nth);
    TempFolder folder;
    FaultDisk disk;
    std::string id;
    bool acknowledged = false;
    {
      auto store = open_session_store(folder.path, on_fault_disk());
      REQUIRE(store);
      id = make_session(**store);
      REQUIRE(say(**store, id, 0));
      disk.fail(FaultDisk::Fault::kWriteError, nth);
      acknowledged = say(**store, id, 1).has_value();
      disk.heal();
    }
    auto again = open_session_store(folder.path, on_fault_disk());
    REQUIRE(again);
    const size_t there = checked_turns(**again, id);
    CHECK(there >= (acknowledged ? 2U : 1U));
    CHECK((*again)->verify()->empty());
  }
}

TEST_CASE("whenever the power goes, every acknowledged turn is there and nothing is wrong") {
  TempFolder folder;
  FaultDisk disk;
  std::vector<std::pair<size_t, size_t>> acknowledged;  // moment -> turns that must be there from then on
  std::string id;
  {
    auto store = open_session_store(folder.path, on_fault_disk());
    REQUIRE(store);
    id = make_session(**store);
    acknowledged.emplace_back(disk.moment(), 0);
    for (int i = 0; i < 30; ++i) {
      REQUIRE(say(**store, id, i));
      acknowledged.emplace_back(disk.moment(), static_cast<size_t>(i) + 1);
      if (i % 10 == 9) REQUIRE((*store)->collect_garbage(0));  // moves the WAL
    }
  }
  std::mt19937 random(7);
  for (int state = 0; state < 150; ++state) {
    const size_t first = acknowledged.front().first;
    const size_t moment = first + random() % (disk.moment() - first + 1);
    size_t expected = 0;
    for (const auto& [when, turns] : acknowledged) {
      if (when <= moment) expected = turns;
    }
    INFO("state " << state << ": power cut at operation " << moment << ", " << expected << " turns acknowledged");
    TempFolder cut;
    disk.after_power_cut(moment, static_cast<uint32_t>(state), cut.path);
    auto store = open_session_store(cut.path);
    if (!store) FAIL(store.error().message);
    CHECK(checked_turns(**store, id) >= expected);
    CHECK((*store)->verify()->empty());
  }
}

TEST_CASE("a read-only folder and a link in the store's place are refused with the reason") {
  TempFolder folder;
  TempFolder elsewhere;
  std::ofstream(elsewhere.path / "target") << "not ours";
  fs::create_symlink(elsewhere.path / "target", folder.path / "meta.db");
  const auto linked = open_session_store(folder.path);
  REQUIRE_FALSE(linked);
  std::ifstream in(elsewhere.path / "target");
  CHECK(std::string((std::istreambuf_iterator<char>(in)), {}) == "not ours");
}

TEST_CASE("a store of a newer version, and a file that is none, are refused and left alone") {
  TempFolder folder;
  std::ofstream(folder.path / "meta.db") << "this is no database, but it is somebody's";
  const auto foreign = open_session_store(folder.path);
  REQUIRE_FALSE(foreign);
  CHECK(foreign.error().code == Code::kCorrupt);
  std::ifstream in(folder.path / "meta.db");
  CHECK(std::string((std::istreambuf_iterator<char>(in)), {}) == "this is no database, but it is somebody's");

  TempFolder newer;
  {
    REQUIRE(open_session_store(newer.path));
  }
  std::fstream file(newer.path / "meta.db", std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(60);  // user_version, big endian
  file.write("\0\0\0\2", 4);
  file.close();
  const auto refused = open_session_store(newer.path);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::kUnsupported);
  CHECK(refused.error().message.find("newer") != std::string::npos);
}
