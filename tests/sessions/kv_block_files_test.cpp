// Blocks on disk: what comes back is what was saved or nothing; damage is noticed, limits hold, deleted is deleted.
#include "sessions/kv_block_files.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

using namespace kvasir;
namespace fs = std::filesystem;

namespace {

struct TempFolder {
  fs::path path;
  TempFolder() {
    static int count = 0;
    path = fs::temp_directory_path() / ("kvasir-blocks-" + std::to_string(::getpid()) + "-" + std::to_string(count++));
    fs::create_directories(path);
  }
  ~TempFolder() { fs::remove_all(path); }
};

constexpr size_t kSize = 5000;

std::vector<std::byte> payload(int seed) {
  std::vector<std::byte> out(kSize);
  for (size_t i = 0; i < out.size(); ++i)
    out[i] = static_cast<std::byte>((i * 31 + static_cast<size_t>(seed) * 7) & 255);
  return out;
}

std::vector<TokenId> page(int seed) {
  return std::vector<TokenId>(64, seed);
}

std::unique_ptr<KvBlockFiles> open(const TempFolder& folder, const KvBlockLimits& limits = {}) {
  auto files = KvBlockFiles::open(folder.path.string(), limits);
  REQUIRE(files);
  return std::move(*files);
}

std::string key_of(KvBlockFiles& files, int number) {
  return files.next(files.root("model|alice"), page(number));
}

std::vector<fs::path> blocks_in(const TempFolder& folder) {
  std::vector<fs::path> out;
  for (const auto& entry : fs::directory_iterator(folder.path / "all")) out.push_back(entry.path());
  return out;
}

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
void write(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

}  // namespace

TEST_CASE("a saved block comes back, also in the next process, and is private") {
  TempFolder folder;
  std::vector<std::byte> into(kSize);
  {
    auto files = open(folder);
    files->save({"s_1", "local", key_of(*files, 1), KvBlockKind::kWhole, payload(1)});
    CHECK(files->contains(key_of(*files, 1)));
    REQUIRE(files->load(key_of(*files, 1), into));  // from the queue or the disk
    files->flush();
  }
  auto files = open(folder);
  REQUIRE(files->contains(key_of(*files, 1)));
  into.assign(kSize, {});
  REQUIRE(files->load(key_of(*files, 1), into));
  CHECK(into == payload(1));
  CHECK(files->load(key_of(*files, 2), into).error().code == Code::kNotFound);
  for (const auto& block : blocks_in(folder))
    CHECK((fs::status(block).permissions() & fs::perms(077)) == fs::perms::none);
  CHECK((fs::status(folder.path / "secret").permissions() & fs::perms(077)) == fs::perms::none);
}

TEST_CASE("keys depend on everything before the page, on whose it is, and on this folder's secret") {
  TempFolder folder;
  TempFolder other;
  auto files = open(folder);
  auto elsewhere = open(other);
  const auto root = files->root("model|alice");
  CHECK(root == files->root("model|alice"));
  CHECK(root != files->root("model|bob"));
  CHECK(root != elsewhere->root("model|alice"));
  const auto first = files->next(root, page(1));
  CHECK(first != files->next(root, page(2)));
  CHECK(files->next(first, page(1)) != first);
}

TEST_CASE("a flipped, cut, extended or exchanged block is noticed, gone, and never served") {
  TempFolder folder;
  auto files = open(folder);
  files->save({"s_1", "local", key_of(*files, 2), KvBlockKind::kWhole, payload(2)});
  files->flush();
  const std::string other = read(blocks_in(folder).front());
  const fs::path other_path = blocks_in(folder).front();
  for (const char* harm : {"header", "payload", "tag", "cut", "extended", "empty", "exchanged", "link"}) {
    INFO(harm);
    files->save({"s_1", "local", key_of(*files, 1), KvBlockKind::kWhole, payload(1)});
    files->flush();
    const auto all = blocks_in(folder);
    const auto found = std::ranges::find_if(all, [&](const auto& p) { return p != other_path; });
    REQUIRE(found != all.end());
    std::string bytes = read(*found);
    const std::string what = harm;
    if (what == "header") bytes[9] ^= 1;
    if (what == "payload") bytes[bytes.size() / 2] ^= 1;
    if (what == "tag") bytes.back() ^= 1;
    if (what == "cut") bytes.resize(bytes.size() - 1);
    if (what == "extended") bytes += 'x';
    if (what == "empty") bytes.clear();
    if (what == "exchanged") bytes = other;
    write(*found, bytes);
    if (what == "link") {
      fs::remove(*found);
      fs::create_symlink(other_path, *found);
    }
    std::vector<std::byte> into(kSize);
    const auto loaded = files->load(key_of(*files, 1), into);
    REQUIRE_FALSE(loaded);
    CHECK(loaded.error().code == (what == "link" ? Code::kNotFound : Code::kCorrupt));
    if (what == "link") fs::remove(*found);
    CHECK(files->load(key_of(*files, 1), into).error().code == Code::kNotFound);
  }
  std::vector<std::byte> into(kSize);
  CHECK(files->load(key_of(*files, 2), into));
  std::vector<std::byte> another_size(kSize + 1);
  CHECK_FALSE(files->load(key_of(*files, 2), another_size));
}

TEST_CASE("the least recently used blocks go when the limit is reached") {
  TempFolder folder;
  auto files = open(folder, {.max_bytes = 10 * (kSize + 100), .max_queued_bytes = 1 << 20});
  std::vector<std::byte> into(kSize);
  for (int i = 0; i < 30; ++i) {
    files->save({"s_1", "local", key_of(*files, i), KvBlockKind::kWhole, payload(i)});
    files->flush();
    if (i > 0) CHECK(files->load(key_of(*files, 0), into));  // always in use
    CHECK(files->bytes() <= 10 * (kSize + 100));
  }
  CHECK(files->contains(key_of(*files, 0)));
  CHECK(files->contains(key_of(*files, 29)));
  CHECK_FALSE(files->contains(key_of(*files, 5)));
}

TEST_CASE("forget deletes what a session saved, and only that") {
  TempFolder folder;
  auto files = open(folder);
  for (int i = 0; i < 3; ++i) files->save({"s_1", "local", key_of(*files, i), KvBlockKind::kWhole, payload(i)});
  files->save({"s_2", "local", key_of(*files, 9), KvBlockKind::kWhole, payload(9)});
  files->flush();
  CHECK(files->owners().size() == 2);
  CHECK(files->forget("s_1") > 3 * kSize);
  CHECK(blocks_in(folder).size() == 1);
  CHECK(files->contains(key_of(*files, 9)));
  CHECK(files->owners() == std::vector<std::string>{"s_2"});
  files->save({"s_2", "local", key_of(*files, 10), KvBlockKind::kWhole, payload(10)});
  files->forget("s_2");
  files->flush();
  CHECK(blocks_in(folder).empty());
}

TEST_CASE("forget leaves what a fork uses too") {
  TempFolder folder;
  auto files = open(folder);
  files->save({"s_1", "local", key_of(*files, 1), KvBlockKind::kWhole, payload(1)});
  files->save({"s_1", "local", key_of(*files, 2), KvBlockKind::kWhole, payload(2)});
  files->save({"fork", "local", key_of(*files, 1), KvBlockKind::kWhole, {}});  // used, not saved again
  files->flush();
  files->forget("s_1");
  CHECK(files->contains(key_of(*files, 1)));
  CHECK_FALSE(files->contains(key_of(*files, 2)));
  files->forget("fork");
  CHECK(blocks_in(folder).empty());
}

TEST_CASE("what waits beyond the limit is dropped, not piled up") {
  TempFolder folder;
  auto files = open(folder, {.max_bytes = 1 << 20, .max_queued_bytes = kSize});
  files->save({"s_1", "local", key_of(*files, 1), KvBlockKind::kWhole, std::vector<std::byte>(kSize + 1)});
  files->flush();
  CHECK(blocks_in(folder).empty());
}

TEST_CASE("leftovers of a crash are swept at the next start, a damaged secret is refused") {
  TempFolder folder;
  {
    auto files = open(folder);
    files->save({"s_1", "local", key_of(*files, 1), KvBlockKind::kWhole, payload(1)});
    files->flush();
  }
  write(folder.path / "all" / "0123.kvb.tmp", "half");
  CHECK(open(folder)->bytes() > 0);
  CHECK(blocks_in(folder).size() == 1);
  write(folder.path / "secret", "short");
  CHECK(KvBlockFiles::open(folder.path.string()).error().code == Code::kCorrupt);
}

TEST_CASE("of the pages that a session only began, the newest stays when garbage is collected") {
  const TempFolder folder;
  const auto files = open(folder);
  files->save({"s_1", "local", key_of(*files, 1), KvBlockKind::kWhole, payload(1)});
  for (int i = 2; i < 5; ++i) files->save({"s_1", "local", key_of(*files, i), KvBlockKind::kTail, payload(i)});
  files->save({"fork", "local", key_of(*files, 3), KvBlockKind::kTail, {}});  // went on from there
  files->flush();
  CHECK(files->drop_stale_tails() > kSize);
  std::vector<int> there;
  for (int i = 1; i < 5; ++i) {
    if (files->contains(key_of(*files, i))) there.push_back(i);
  }
  CHECK(there == std::vector<int>{1, 3, 4});
  CHECK(files->drop_stale_tails() == 0);
  files->save({"s_1", "local", key_of(*files, 2), KvBlockKind::kTail, payload(2)});  // said again
  files->flush();
  CHECK(files->drop_stale_tails() > kSize);  // the one before it
  CHECK(files->contains(key_of(*files, 2)));
  files->forget("fork");
  CHECK(files->drop_stale_tails() > kSize);
  CHECK_FALSE(files->contains(key_of(*files, 3)));
  files->forget("s_1");
  CHECK(files->bytes() == 0);
}
