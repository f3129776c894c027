// Packed weights from one process to the next: found whole they are the same bytes; anything else is refused and packed
// again.
#include <catch2/catch.hpp>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/cpu_weight.h"
#include "backends/cpu/format.h"
#include "backends/cpu/pack.h"
#include "tests/kernels/kernel_lab.h"

using namespace kvasir;
using namespace kvasir::test;
namespace fs = std::filesystem;

namespace {

struct Bytes final : ByteSource {
  std::vector<std::byte> bytes;
  mutable std::atomic<int> reads{0};
  Result<void> read(uint64_t offset, std::span<std::byte> into) const override {
    ++reads;
    std::memcpy(into.data(), bytes.data() + offset, into.size());
    return {};
  }
};

/// A folder, and a "model" of three tensors, 6 MB packed: more than a piece of the file.
struct World {
  fs::path folder = fs::temp_directory_path() / ("kvasir-packed-" + std::to_string(::getpid()));
  std::unique_ptr<cpu::Team> team = cpu::Team::create(2);
  std::unique_ptr<Backend> backend = open_cpu("cpu-scalar", 1);
  Bytes big, small, norm;
  cpu::PackedCacheLimits limits{.min_bytes = 1000, .leave_free_bytes = 0, .delay = std::chrono::milliseconds(0)};

  World() {
    fs::remove_all(folder);
    big.bytes = random_tensor(TensorType::kQ8_0, 1024, 5120, 1);
    small.bytes = random_tensor(TensorType::kQ4_0, 40, 64, 2);
    norm.bytes = random_tensor(TensorType::kF32, 1, 64, 3);
  }
  ~World() { fs::remove_all(folder); }

  cpu::PackedCache cache() { return {(folder / "weights").string(), "scalar 1", *team, limits}; }
  const cpu::KernelTable& kernels() { return dynamic_cast<cpu::CpuBackend&>(*backend).kernels(); }
  std::vector<std::unique_ptr<cpu::CpuWeight>> upload(cpu::PackedCache* cache) {
    const HostTensor tensors[] = {
        {.name = "big", .type = TensorType::kQ8_0, .rows = 1024, .cols = 5120, .source = &big},
        {.name = "small", .type = TensorType::kQ4_0, .rows = 40, .cols = 64, .source = &small},
        {.name = "norm", .type = TensorType::kF32, .cols = 64, .source = &norm}};
    std::vector<std::unique_ptr<cpu::CpuWeight>> out;
    for (const HostTensor& tensor : tensors) {
      auto weight = cpu::CpuWeight::create(tensor, tensor.rows == 1 ? WeightUse::kVector : WeightUse::kMatrix, kernels(), *team, memory, cache);
      REQUIRE(weight);
      out.push_back(*std::move(weight));
    }
    return out;
  }
  /// What a process does: loads, and ends when its weights are kept (the writer runs when nobody else does) or, with
  /// `patience` 0, at once.
  void first_start(const std::string& identity = "model", std::chrono::seconds patience = std::chrono::seconds(60)) {
    cpu::PackedCache here = cache();
    CHECK_FALSE(here.begin(identity));
    upload(&here);
    here.finish("the note");
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (std::chrono::steady_clock::now() < deadline && !cache().begin(identity)) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  std::vector<fs::path> packed() const {
    std::vector<fs::path> out;
    std::error_code ec;
    for (const auto& entry : fs::directory_iterator(folder / "weights", ec)) {
      if (entry.path().extension() == ".packed") out.push_back(entry.path());
    }
    return out;
  }
  int reads() const { return big.reads + small.reads + norm.reads; }

  cpu::WeightMemory memory;
};

void change_byte(const fs::path& path, std::streamoff at) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(at);
  const char byte = static_cast<char>(file.get() ^ 1);
  file.seekp(at);
  file.put(byte);
}

/// The same bytes in the small pages of an older file system: huge ones cannot be mapped then.
void rewrite_in_small_pages(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  in.close();
  fs::remove(path);
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT, 0600);
  for (size_t at = 0; at < bytes.size(); at += 4096) {
    const size_t part = std::min<size_t>(4096, bytes.size() - at);
    REQUIRE(::write(fd, bytes.data() + at, part) == static_cast<ssize_t>(part));
  }
  ::close(fd);
}

}  // namespace

TEST_CASE("weights that were packed once are found by the next process, the same to the last bit", "[kernels]") {
  World world;
  const auto fresh = world.upload(nullptr);
  world.first_start();
  REQUIRE(world.packed().size() == 1);
  struct stat facts{};
  REQUIRE(::stat(world.packed()[0].c_str(), &facts) == 0);
  CHECK((facts.st_mode & 0777) == 0600);
  const bool small_pages = GENERATE(false, true);
  if (small_pages) rewrite_in_small_pages(world.packed()[0]);

  const int before = world.reads();
  std::vector<std::unique_ptr<cpu::CpuWeight>> kept;
  {
    cpu::PackedCache cache = world.cache();
    const auto note = cache.begin("model");
    REQUIRE(note);
    CHECK(*note == "the note");
    kept = world.upload(&cache);
    cache.finish(*note);
  }
  CHECK(world.reads() == before);  // nothing of the model itself was read
  for (size_t i = 0; i < fresh.size(); ++i) {
    REQUIRE(kept[i]->bytes() == fresh[i]->bytes());
    CHECK(std::memcmp(kept[i]->panel(0, 0), fresh[i]->panel(0, 0), fresh[i]->bytes()) == 0);
    CHECK(reinterpret_cast<uintptr_t>(kept[i]->panel(0, 0)) % 64 == 0);
  }
}

TEST_CASE("packed weights of another model, table or shape are not used", "[kernels]") {
  World world;
  world.first_start();
  cpu::PackedCache cache = world.cache();
  CHECK_FALSE(cache.begin("model, changed"));
  cpu::PackedCache other((world.folder / "weights").string(), "scalar 2", *world.team, world.limits);
  CHECK_FALSE(other.begin("model"));
  REQUIRE(cache.begin("model"));
  const HostTensor tensor{.name = "big", .type = TensorType::kQ8_0, .rows = 1024, .cols = 5120, .source = &world.big};
  CHECK(cache.find(tensor, WeightUse::kMatrix, 1024 * 5440));
  CHECK_FALSE(cache.find(tensor, WeightUse::kMatrix, 1024 * 5440 + 64));
  HostTensor elsewhere = tensor;
  elsewhere.offset = 34;
  CHECK_FALSE(cache.find(elsewhere, WeightUse::kMatrix, 1024 * 5440));
}

TEST_CASE("a damaged, cut or longer file of packed weights is refused, removed and made again", "[kernels]") {
  const auto damage = GENERATE(as<std::string>(), "magic", "length", "header", "first piece", "last byte", "cut", "cut to nothing", "longer");
  CAPTURE(damage);
  World world;
  world.first_start();
  REQUIRE(world.packed().size() == 1);
  const fs::path file = world.packed()[0];
  if (GENERATE(false, true)) rewrite_in_small_pages(file);
  const auto size = static_cast<std::streamoff>(fs::file_size(file));
  if (damage == "magic") change_byte(file, 3);
  if (damage == "length") change_byte(file, 9);
  if (damage == "header") change_byte(file, 60);
  if (damage == "first piece") change_byte(file, (2 << 20) + 5);
  if (damage == "last byte") change_byte(file, size - 1);
  if (damage == "cut") fs::resize_file(file, static_cast<uintmax_t>(size) - 4096);
  if (damage == "cut to nothing") fs::resize_file(file, 0);
  if (damage == "longer") fs::resize_file(file, static_cast<uintmax_t>(size) + 4096);
  {
    cpu::PackedCache cache = world.cache();
    CHECK_FALSE(cache.begin("model"));
    CHECK(world.packed().empty());
  }
  world.first_start();
  CHECK(world.packed().size() == 1);
  CHECK(world.cache().begin("model"));
}

TEST_CASE("packed weights that others may write, or that are a link, are not used", "[kernels]") {
  World world;
  world.first_start();
  const fs::path file = world.packed()[0];
  REQUIRE(::chmod(file.c_str(), 0666) == 0);
  CHECK_FALSE(world.cache().begin("model"));
  REQUIRE(::chmod(file.c_str(), 0600) == 0);
  CHECK(world.cache().begin("model"));
  fs::rename(file, world.folder / "elsewhere");
  fs::create_symlink(world.folder / "elsewhere", file);
  CHECK_FALSE(world.cache().begin("model"));
}

TEST_CASE("small models, full disks and short lives leave no packed weights", "[kernels]") {
  World world;
  SECTION("too small to pay") { world.limits.min_bytes = uint64_t{1} << 30; }
  SECTION("less would be left on the disk than the limit") { world.limits.leave_free_bytes = UINT64_MAX / 2; }
  SECTION("larger than all files may be") { world.limits.max_bytes = 1 << 20; }
  SECTION("the process ends before the delay") { world.limits.delay = std::chrono::hours(1); }
  world.first_start("model", std::chrono::seconds(0));
  CHECK(world.packed().empty());
}

TEST_CASE("of packed weights the longest unused go first", "[kernels]") {
  World world;
  world.limits.max_files = 2;
  world.first_start("one");
  const fs::path one = world.packed()[0];
  world.first_start("two");
  REQUIRE(world.packed().size() == 2);
  // `one` is the older one by its date, but `two` was not used for longer.
  for (const fs::path& path : world.packed()) fs::last_write_time(path, fs::file_time_type::clock::now() - std::chrono::hours(path == one ? 5 : 4));
  CHECK(world.cache().begin("one"));
  world.first_start("three");
  CHECK(world.packed().size() == 2);
  CHECK(world.cache().begin("one"));
  CHECK_FALSE(world.cache().begin("two"));
}

TEST_CASE("the bytes of packed panels are pinned to the layout's number", "[kernels]") {
  XXH64_hash_t digest = cpu::kPackedLayout;
  Noise noise(1);
  for (uint32_t f = 0; f < cpu::kFormatCount; ++f) {
    const auto format = static_cast<cpu::Format>(f);
    std::vector<std::byte> rows(13 * 512 / cpu::format_info(format).block_values * cpu::format_info(format).file_block_bytes);
    for (std::byte& byte : rows) byte = static_cast<std::byte>(noise.bits());
    std::vector<uint8_t> panel(cpu::panel_bytes(format, 512));
    cpu::pack_panel(format, rows.data(), 13, 512, panel.data());
    digest = XXH3_64bits_withSeed(panel.data(), panel.size(), digest);
  }
  // Changed on purpose? Bump kPackedLayout with it: files of the old layout would be read as the new one.
  CHECK(digest == 0xf92e64e272ca3c83);
}
