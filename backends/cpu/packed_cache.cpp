#include "backends/cpu/packed_cache.h"

#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "backends/cpu/pack.h"
#include "core/base/log.h"

namespace kvasir::cpu {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kEnding = ".packed";
constexpr std::chrono::hours kAbandoned{1};  // a partial file that nobody wrote to for so long

uint64_t name_of(const HostTensor& tensor, WeightUse use) {
  std::string text = tensor.name;
  for (const uint64_t part : {uint64_t{tensor.name.size()}, static_cast<uint64_t>(tensor.type), static_cast<uint64_t>(use),
                              tensor.experts, tensor.rows, tensor.cols, tensor.offset,
                              uint64_t{std::bit_cast<uint32_t>(tensor.add)}}) {
    text.append(reinterpret_cast<const char*>(&part), sizeof part);
  }
  return XXH3_64bits(text.data(), text.size());
}

/// The calling thread runs, and uses the disk, only when nobody else wants to.
void become_idle() {
  const sched_param none{};
  pthread_setschedparam(pthread_self(), SCHED_IDLE, &none);
  constexpr int kThisThread = 1, kIdleClass = 3 << 13;
  syscall(SYS_ioprio_set, kThisThread, 0, kIdleClass);
}

}  // namespace

PackedCache::PackedCache(std::string folder, std::string kernels, Team& team, const PackedCacheLimits& limits)
    : folder_(std::move(folder)), kernels_(std::move(kernels)), team_(team), limits_(limits) {}

PackedCache::~PackedCache() = default;

std::string PackedCache::path() const {
  const XXH128_hash_t hash = XXH3_128bits(key_.data(), key_.size());
  std::array<char, 33> name{};
  std::snprintf(name.data(), name.size(), "%016llx%016llx", static_cast<unsigned long long>(hash.high64),
                static_cast<unsigned long long>(hash.low64));
  return folder_ + "/" + name.data() + std::string(kEnding);
}

std::optional<std::string> PackedCache::begin(const std::string& identity) {
  writer_ = {};  // stops and joins: one load at a time
  collected_.clear();
  key_ = "layout " + std::to_string(kPackedLayout) + ", " + kernels_ + ", " + identity;
  auto opened = PackedFile::open(path(), key_, team_);
  collecting_ = !opened;
  if (opened) {
    file_ = *std::move(opened);
    log::info("packed_weights_used file=" + path() + (file_->mapped() ? " how=mapped" : " how=copied"));
    return file_->note();
  }
  file_.reset();
  if (opened.error().code == Code::kCorrupt) {
    log::warn("packed_weights_refused file=" + path() + " reason=\"" + opened.error().message + "\"");
    ::unlink(path().c_str());
  } else if (opened.error().code != Code::kNotFound) {
    log::warn("packed_weights_not_used file=" + path() + " reason=\"" + opened.error().message + "\"");
  }
  return std::nullopt;
}

std::optional<WeightBlock> PackedCache::find(const HostTensor& tensor, WeightUse use, uint64_t bytes) const {
  return file_ ? file_->find(name_of(tensor, use), bytes) : std::nullopt;
}

void PackedCache::packed(const HostTensor& tensor, WeightUse use, const WeightBlock& block) {
  if (collecting_) collected_.push_back({name_of(tensor, use), block});
}

void PackedCache::finish(const std::string& note) {
  file_.reset();  // weights keep its memory
  uint64_t bytes = 0;
  for (const PackedTensor& tensor : collected_) bytes += tensor.block.bytes;
  if (!std::exchange(collecting_, false) || bytes < limits_.min_bytes) return collected_.clear();
  writer_ = std::jthread([this, note](const std::stop_token& stop) {
    write_behind(stop, note);
    collected_.clear();
  });
}

void PackedCache::write_behind(const std::stop_token& stop, const std::string& note) {
  become_idle();
  {
    std::unique_lock lock(mutex_);
    delay_.wait_for(lock, stop, limits_.delay, [] { return false; });
  }
  if (stop.stop_requested()) return;
  auto done = make_room(packed_file_bytes(collected_, key_, note));
  if (done) done = write_packed_file(path(), key_, note, collected_, stop);
  if (done) return log::info("packed_weights_written file=" + path());
  if (done.error().code != Code::kCancelled) log::warn("packed_weights_not_written reason=\"" + done.error().message + "\"");
}

/// Makes the folder and drops what is too much in it, the longest unused first. Error kTooLarge: no room even so.
Result<void> PackedCache::make_room(uint64_t wanted) const {
  const Failure no_room{Code::kTooLarge, "no room for " + std::to_string(wanted >> 20) + " MiB in " + folder_};
  if (wanted > limits_.max_bytes) return no_room;
  std::error_code ec;
  fs::create_directories(folder_, ec);
  ::chmod(folder_.c_str(), S_IRWXU);
  struct Kept {
    fs::file_time_type used;
    uint64_t bytes;
    fs::path path;
  };
  std::vector<Kept> kept;
  uint64_t total = 0;
  for (const auto& entry : fs::directory_iterator(folder_, ec)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_regular_file(ec) || entry.is_symlink(ec)) continue;
    const auto used = entry.last_write_time(ec);
    if (name.ends_with(".tmp") && fs::file_time_type::clock::now() - used > kAbandoned) fs::remove(entry.path(), ec);
    if (!name.ends_with(kEnding) || entry.path() == path()) continue;
    kept.push_back({used, entry.file_size(ec), entry.path()});
    total += kept.back().bytes;
  }
  std::ranges::sort(kept, {}, &Kept::used);
  for (size_t i = 0; i < kept.size() && (kept.size() - i >= limits_.max_files || total + wanted > limits_.max_bytes); ++i) {
    fs::remove(kept[i].path, ec);
    total -= kept[i].bytes;
  }
  struct statvfs disk{};
  if (::statvfs(folder_.c_str(), &disk) != 0) return Failure{Code::kIo, "cannot look at " + folder_};
  const uint64_t free = uint64_t{disk.f_bavail} * disk.f_frsize;
  if (free < wanted || free - wanted < limits_.leave_free_bytes) return no_room;
  return {};
}

}  // namespace kvasir::cpu
