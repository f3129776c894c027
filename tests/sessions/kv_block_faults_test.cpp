// Pages of KV on disks that fail, fill up and lose power: what comes back is what was saved or nothing, the cache opens
// whatever is left, no page outlives its session, and it goes on when the disk does.
#include <catch2/catch.hpp>

#include <algorithm>
#include <random>

#include "sessions/kv_block_files.h"
#include "tests/sessions/fault_files.h"

using namespace kvasir;
using namespace kvasir::test;

namespace {

constexpr const char* kFolder = "/data/blocks";
constexpr size_t kSize = 3000;

std::vector<std::byte> payload(int number) {
  std::vector<std::byte> out(kSize);
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::byte>((i * 31 + static_cast<size_t>(number) * 7) & 255);
  return out;
}

struct Cache {
  explicit Cache(std::shared_ptr<FaultFiles> on, KvBlockLimits limits = {}) : files(std::move(on)) {
    auto opened = KvBlockFiles::open(kFolder, limits, files);
    if (!opened) FAIL(opened.error().message);
    blocks = std::move(*opened);
  }
  std::string key(int number) { return blocks->next(blocks->root("model"), std::vector<TokenId>(64, number)); }
  void save(int number, const std::string& owner = "s_1", const std::string& principal = "local") {
    blocks->save({owner, principal, key(number), KvBlockKind::kWhole, payload(number)});
  }
  /// True: it is there, and right.
  bool has(int number) {
    std::vector<std::byte> into(kSize);
    if (!blocks->load(key(number), into)) return false;
    REQUIRE(into == payload(number));
    return true;
  }

  std::shared_ptr<FaultFiles> files;
  std::unique_ptr<KvBlockFiles> blocks;
};

size_t blocks_on(const FaultFiles& files) {
  return files.names(std::string(kFolder) + "/all").size();
}

}  // namespace

TEST_CASE("a full disk keeps what is there, whichever write it refuses, and the rest comes when there is room") {
  for (const auto op : {FaultFiles::Op::kCreate, FaultFiles::Op::kWrite, FaultFiles::Op::kAppend}) {
    for (int nth = 1; nth < 6; ++nth) {
      INFO("operation " << static_cast<int>(op) << ", " << nth);
      Cache cache(std::make_shared<FaultFiles>());
      cache.save(1);
      cache.blocks->flush();
      cache.files->fail(op, nth, FaultFiles::Error::kFull);
      cache.save(2);
      cache.save(3);
      cache.blocks->flush();
      CHECK(cache.has(1));
      (void)cache.has(2);
      cache.files->heal();
      for (int i : {2, 3, 4}) cache.save(i);
      cache.blocks->flush();
      for (int i : {1, 2, 3, 4}) CHECK(cache.has(i));
      for (const auto& name : cache.files->names(std::string(kFolder) + "/all")) CHECK(name.ends_with(".kvb"));
      cache.blocks->forget("s_1");
      CHECK(blocks_on(*cache.files) == 0);
      CHECK(cache.blocks->bytes() == 0);
    }
  }
}

TEST_CASE("a page that cannot be noted for its session is not kept: nobody would delete it") {
  Cache cache(std::make_shared<FaultFiles>());
  cache.blocks->flush();
  cache.files->fail(FaultFiles::Op::kAppend, 1, FaultFiles::Error::kIo);
  cache.save(1);
  cache.blocks->flush();
  CHECK(cache.files->fired());
  CHECK(blocks_on(*cache.files) == 0);
  CHECK_FALSE(cache.blocks->contains(cache.key(1)));
}

TEST_CASE("a page that cannot be read is computed and written again") {
  for (const auto op : {FaultFiles::Op::kOpen, FaultFiles::Op::kRead}) {
    Cache cache(std::make_shared<FaultFiles>());
    cache.save(1);
    cache.blocks->flush();
    cache.files->fail(op, 1, FaultFiles::Error::kIo);
    std::vector<std::byte> into(kSize);
    CHECK(cache.blocks->load(cache.key(1), into).error().code == Code::kIo);
    cache.files->heal();
    CHECK_FALSE(cache.blocks->contains(cache.key(1)));
    cache.save(1);
    cache.blocks->flush();
    CHECK(cache.has(1));
  }
}

TEST_CASE("a page whose file somebody took away is written again") {
  Cache cache(std::make_shared<FaultFiles>());
  cache.save(1);
  cache.blocks->flush();
  REQUIRE(cache.files->remove(std::string(kFolder) + "/all/" + cache.files->names(std::string(kFolder) + "/all").front()));
  CHECK_FALSE(cache.has(1));
  CHECK_FALSE(cache.blocks->contains(cache.key(1)));
  cache.save(1);
  cache.blocks->flush();
  CHECK(cache.has(1));
}

TEST_CASE("a disk that does not open is refused with the reason") {
  for (const auto op : {FaultFiles::Op::kCreate, FaultFiles::Op::kSync, FaultFiles::Op::kList, FaultFiles::Op::kRename}) {
    INFO(static_cast<int>(op));
    auto files = std::make_shared<FaultFiles>();
    files->fail(op, 1, FaultFiles::Error::kIo);
    const auto opened = KvBlockFiles::open(kFolder, {}, files);
    REQUIRE_FALSE(opened);
    CHECK(opened.error().code == Code::kIo);
    files->heal();
    CHECK(KvBlockFiles::open(kFolder, {}, files));
  }
}

TEST_CASE("whenever the power goes, the cache opens, serves nothing wrong, and no page lacks a session") {
  auto files = std::make_shared<FaultFiles>();
  size_t opened = 0;
  {
    Cache cache(files);
    opened = files->moment();
    std::mt19937 random(3);
    for (int i = 0; i < 60; ++i) {
      const std::string owner = "s_" + std::to_string(random() % 4);
      cache.save(static_cast<int>(random() % 25), owner);
      if (i % 7 == 6) cache.blocks->flush();
      if (i % 13 == 12) cache.blocks->forget(owner);
      if (i % 20 == 19) cache.blocks->drop_stale_tails();
    }
    cache.blocks->flush();
  }
  std::mt19937 random(11);
  size_t found = 0;
  for (uint32_t state = 0; state < 400; ++state) {
    const size_t moment = opened + random() % (files->moment() - opened + 1);
    INFO("state " << state << ": power cut at event " << moment);
    Cache cache(files->after_power_cut(moment, state));
    cache.blocks->flush();
    for (int i = 0; i < 25; ++i) found += cache.has(i) ? 1 : 0;
    for (int i = 0; i < 4; ++i) cache.blocks->forget("s_" + std::to_string(i));
    CHECK(blocks_on(*cache.files) == 0);
    CHECK(cache.blocks->bytes() == 0);
    cache.save(1);
    cache.blocks->flush();
    CHECK(cache.has(1));
  }
  CHECK(found > 400);  // and it is worth something
}

TEST_CASE("one principal's pages make room for its own, not for another's") {
  const KvBlockLimits limits{.max_bytes = 100 * (kSize + 100), .max_bytes_per_principal = 10 * (kSize + 100)};
  auto files = std::make_shared<FaultFiles>();
  {
    Cache cache(files, limits);
    for (int i = 0; i < 5; ++i) cache.save(i, "s_bob", "bob");
    for (int i = 10; i < 40; ++i) {
      cache.save(i, "s_alice", "alice");
      cache.blocks->flush();
      CHECK(cache.blocks->bytes_of("alice") <= limits.max_bytes_per_principal);
    }
    for (int i = 0; i < 5; ++i) CHECK(cache.has(i));
    CHECK(cache.has(39));
    CHECK_FALSE(cache.has(10));
    CHECK(cache.blocks->bytes_of("bob") + cache.blocks->bytes_of("alice") == cache.blocks->bytes());
    CHECK(cache.blocks->bytes_of("carol") == 0);
  }
  Cache again(files, limits);  // it is known after a restart too
  again.blocks->flush();
  CHECK(again.blocks->bytes_of("bob") == 5 * (kSize + 80));
  for (int i = 50; i < 70; ++i) again.save(i, "s_alice", "alice");
  again.blocks->flush();
  CHECK(again.blocks->bytes_of("alice") <= limits.max_bytes_per_principal);
  for (int i = 0; i < 5; ++i) CHECK(again.has(i));
}

TEST_CASE("a page larger than a quota is not kept, and takes no other one away") {
  Cache cache(std::make_shared<FaultFiles>(), {.max_bytes = 1 << 20, .max_bytes_per_principal = kSize / 2});
  cache.save(1);
  cache.blocks->flush();
  CHECK(blocks_on(*cache.files) == 0);
}

TEST_CASE("lists do not grow by what they have already, nor by what is gone") {
  auto files = std::make_shared<FaultFiles>();
  for (int run = 0; run < 5; ++run) {
    Cache cache(files);
    for (int i = 0; i < 3; ++i) {
      if (cache.blocks->contains(cache.key(i))) {
        cache.blocks->save({"s_1", "local", cache.key(i), KvBlockKind::kWhole, {}});
      } else {
        cache.save(i);
      }
    }
    cache.blocks->flush();
  }
  Cache cache(files);
  cache.save(9, "s_2");
  cache.blocks->flush();
  const std::string path = std::string(kFolder) + "/by-session/s_1";
  cache.blocks->drop_stale_tails();
  CHECK(std::ranges::count(files->content(path), '\n') == 4);  // whose it is, and three pages
  std::vector<std::byte> into(kSize);
  files->fail(FaultFiles::Op::kRead, 1, FaultFiles::Error::kIo);
  CHECK_FALSE(cache.blocks->load(cache.key(2), into));
  files->heal();
  cache.blocks->drop_stale_tails();
  CHECK(std::ranges::count(files->content(path), '\n') == 3);
}
