#include "sessions/kv_block_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <set>
#include <thread>
#include <unordered_map>

#include "core/base/log.h"
#include "sessions/chain_hash.h"
#include "sessions/private_files.h"

namespace kvasir {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMagic = "KVSB0001";
constexpr size_t kHeaderBytes = 8 + 8 + kHashBytes;  // magic, payload length, key
constexpr size_t kNameBytes = 2 * kHashBytes;

std::string header_of(const std::string& key, size_t payload) {
  std::string out(kMagic);
  const uint64_t size = payload;
  out.append(reinterpret_cast<const char*>(&size), sizeof size);
  return out + key;
}

std::string_view view(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Result<std::string> read_secret(const std::string& path) {
  std::string secret(kHashBytes, '\0');
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)};
  if (file.fd < 0 && errno == ENOENT) {
    secret = random_salt();
    if (!write_file(path, {secret})) return Failure{Code::kIo, "cannot write " + path + ": " + std::strerror(errno)};
    return secret;
  }
  if (file.fd < 0) return Failure{Code::kIo, "cannot open " + path + ": " + std::strerror(errno)};
  if (!read_all(file.fd, secret.data(), secret.size())) {
    return Failure{Code::kCorrupt, path + " is damaged: delete the folder, it is only a cache"};
  }
  return secret;
}

class Files final : public KvBlockFiles {
 public:
  Files(std::string folder, std::string secret, const KvBlockLimits& limits)
      : folder_(std::move(folder)), secret_(std::move(secret)), limits_(limits), thread_([this] { write_behind(); }) {}
  ~Files() override {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  std::string root(std::string_view identity) override { return keyed_hash(secret_, {"root", identity}); }
  std::string next(const std::string& parent, std::span<const TokenId> tokens) override {
    return keyed_hash(secret_, {"page", parent, view(std::as_bytes(tokens))});
  }

  bool contains(const std::string& key) override {
    const std::lock_guard lock(mutex_);
    return sizes_.contains(key) || queued_.contains(key);
  }
  Result<void> load(const std::string& key, std::span<std::byte> into) override;
  void save(const std::string& owner, const std::string& key, std::vector<std::byte> bytes, KvBlockKind kind) override;
  uint64_t forget(const std::string& owner) override;
  uint64_t drop_stale_tails() override;
  std::vector<std::string> owners() const override {
    std::vector<std::string> out;
    std::error_code ec;
    for (const auto& entry : fs::directory_iterator(folder_ + "/by-session", ec))
      out.push_back(entry.path().filename());
    return out;
  }
  void flush() override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return queue_.empty() && !writing_; });
  }
  uint64_t bytes() const override {
    const std::lock_guard lock(mutex_);
    return total_;
  }
  /// Takes stock of the folder, oldest use first. Before anything else.
  void scan();

 private:
  struct Save {
    std::string owner, key;
    std::vector<std::byte> bytes;  // empty: the block is there, only the owner is noted
    KvBlockKind kind = KvBlockKind::kWhole;
  };
  struct Known {
    uint64_t size = 0;
    uint64_t used = 0;
  };

  struct Listed {
    std::string name;
    bool tail = false;
  };

  std::vector<Listed> listed_by(const std::string& owner) const;
  std::string path_of(const std::string& key) const { return folder_ + "/all/" + to_hex(key) + ".kvb"; }
  std::string list_of(const std::string& owner) const { return folder_ + "/by-session/" + owner; }
  void write_behind();
  void write(const Save& save);
  void note_owner(const Save& save) const;
  std::set<std::string> names_of_others(const std::string& owner) const;
  void know(const std::string& key, uint64_t size);
  void drop(const std::string& key);
  void make_room(uint64_t wanted);
  Result<void> read_block(const std::string& key, std::span<std::byte> into) const;

  const std::string folder_, secret_;
  const KvBlockLimits limits_;
  mutable std::mutex mutex_;  // guards all below but the thread
  std::condition_variable changed_;
  std::deque<Save> queue_;
  std::set<std::string> queued_;  // keys in the queue that bring bytes
  std::set<std::string> noted_;   // owner and key that are in a list already
  std::unordered_map<std::string, Known> sizes_;
  uint64_t queued_bytes_ = 0, total_ = 0, tick_ = 0;
  bool writing_ = false, stop_ = false;
  std::thread thread_;
};

void Files::scan() {
  std::error_code ec;
  std::vector<std::pair<fs::file_time_type, std::pair<std::string, uint64_t>>> found;
  for (const auto& entry : fs::directory_iterator(folder_ + "/all", ec)) {
    const std::string name = entry.path().filename().string();
    const auto key = from_hex(std::string_view(name).substr(0, std::min(name.size(), kNameBytes)));
    if (!entry.is_regular_file(ec) || entry.is_symlink(ec) || key.size() != kHashBytes || !name.ends_with(".kvb")) {
      fs::remove(entry.path(), ec);  // a write that a crash cut short, or nothing of ours
      continue;
    }
    found.push_back({entry.last_write_time(ec), {key, entry.file_size(ec)}});
  }
  std::ranges::sort(found);
  const std::lock_guard lock(mutex_);
  for (const auto& [time, block] : found) know(block.first, block.second);
  make_room(0);
}

void Files::know(const std::string& key, uint64_t size) {
  Known& known = sizes_[key];
  total_ += size - known.size;
  known = {size, ++tick_};
}

void Files::drop(const std::string& key) {
  ::unlink(path_of(key).c_str());
  const auto known = sizes_.find(key);
  if (known == sizes_.end()) return;
  total_ -= known->second.size;
  sizes_.erase(known);
}

void Files::make_room(uint64_t wanted) {
  if (total_ + wanted <= limits_.max_bytes) return;
  std::vector<std::pair<uint64_t, std::string>> oldest;
  for (const auto& [key, known] : sizes_) oldest.emplace_back(known.used, key);
  std::ranges::sort(oldest);
  // A tenth more than needed, so that a full cache does not sort itself for every page.
  const uint64_t goal = limits_.max_bytes - std::min(limits_.max_bytes, wanted + limits_.max_bytes / 10);
  for (const auto& [used, key] : oldest) {
    if (total_ <= goal) return;
    drop(key);
  }
}

Result<void> Files::read_block(const std::string& key, std::span<std::byte> into) const {
  const Descriptor file{::open(path_of(key).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)};
  if (file.fd < 0) return Failure{Code::kNotFound, "no such block"};
  struct stat facts{};
  const size_t whole = kHeaderBytes + into.size() + kHashBytes;
  const Failure damaged{Code::kCorrupt, "a stored block of KV was damaged"};
  if (::fstat(file.fd, &facts) != 0 || !S_ISREG(facts.st_mode) || static_cast<uint64_t>(facts.st_size) != whole)
    return damaged;
  std::string header(kHeaderBytes, '\0');
  std::string tag(kHashBytes, '\0');
  if (!read_all(file.fd, header.data(), header.size()) || header != header_of(key, into.size()) ||
      !read_all(file.fd, reinterpret_cast<char*>(into.data()), into.size()) ||
      !read_all(file.fd, tag.data(), tag.size()) || tag != keyed_hash(secret_, {"block", header, view(into)})) {
    return damaged;
  }
  ::futimens(file.fd, nullptr);  // used now; may fail on a read-only disk
  return {};
}

Result<void> Files::load(const std::string& key, std::span<std::byte> into) {
  {
    const std::lock_guard lock(mutex_);
    const auto waiting = std::ranges::find_if(queue_, [&](const Save& s) { return s.key == key && !s.bytes.empty(); });
    if (waiting != queue_.end() && waiting->bytes.size() == into.size()) {
      std::ranges::copy(waiting->bytes, into.begin());
      return {};
    }
  }
  auto done = read_block(key, into);
  const std::lock_guard lock(mutex_);
  if (done) {
    if (const auto known = sizes_.find(key); known != sizes_.end()) known->second.used = ++tick_;
  } else if (done.error().code == Code::kCorrupt) {
    log::warn("kv_block_damaged file=" + path_of(key));
    drop(key);
  }
  return done;
}

void Files::save(const std::string& owner, const std::string& key, std::vector<std::byte> bytes, KvBlockKind kind) {
  {
    const std::lock_guard lock(mutex_);
    if (bytes.empty() && noted_.contains(owner + key)) return;
    if (queued_bytes_ + bytes.size() > limits_.max_queued_bytes) return;  // late: it will be computed again
    queued_bytes_ += bytes.size();
    if (!bytes.empty()) queued_.insert(key);
    noted_.insert(owner + key);
    queue_.push_back({owner, key, std::move(bytes), kind});
  }
  changed_.notify_all();
}

void Files::note_owner(const Save& save) const {
  const Descriptor list{
      ::open(list_of(save.owner).c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600)};
  const char* end = save.kind == KvBlockKind::kTail ? " tail\n" : "\n";
  if (list.fd >= 0) (void)write_all(list.fd, to_hex(save.key) + end);
}

void Files::write(const Save& save) {
  note_owner(save);  // first: a block without an owner could outlive the session's deletion
  if (save.bytes.empty()) return;
  {
    const std::lock_guard lock(mutex_);
    make_room(save.bytes.size());
  }
  const std::string header = header_of(save.key, save.bytes.size());
  const std::string tag = keyed_hash(secret_, {"block", header, view(save.bytes)});
  // Not synced: a block that a power cut tears does not verify.
  if (!write_file(path_of(save.key), {header, view(save.bytes), tag})) return;
  const std::lock_guard lock(mutex_);
  know(save.key, kHeaderBytes + save.bytes.size() + kHashBytes);
}

void Files::write_behind() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stop_ || !queue_.empty(); });
    if (stop_) return;                  // what is late is dropped: it can be computed again
    const Save& save = queue_.front();  // stays findable while it is written
    writing_ = true;
    lock.unlock();
    write(save);
    lock.lock();
    writing_ = false;
    queued_bytes_ -= save.bytes.size();
    if (!save.bytes.empty()) queued_.erase(save.key);
    queue_.pop_front();
    changed_.notify_all();
  }
}

/// What other sessions saved or used: a fork goes on when its origin is deleted, and the other way round.
std::set<std::string> Files::names_of_others(const std::string& owner) const {
  std::set<std::string> names;
  for (const std::string& other : owners()) {
    if (other == owner) continue;
    for (const Listed& listed : listed_by(other)) names.insert(listed.name);
  }
  for (const Save& save : queue_) names.insert(to_hex(save.key));
  return names;
}

uint64_t Files::forget(const std::string& owner) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !writing_; });
  std::erase_if(queue_, [&](const Save& save) {
    if (save.owner != owner) return false;
    queued_bytes_ -= save.bytes.size();
    if (!save.bytes.empty()) queued_.erase(save.key);
    return true;
  });
  std::erase_if(noted_, [&](const std::string& entry) { return entry.starts_with(owner); });
  const uint64_t before = total_;
  const std::set<std::string> needed = names_of_others(owner);
  for (const Listed& listed : listed_by(owner)) {
    if (!needed.contains(listed.name)) drop(from_hex(listed.name));
  }
  ::unlink(list_of(owner).c_str());
  return before - total_;
}

std::vector<Files::Listed> Files::listed_by(const std::string& owner) const {
  std::vector<Listed> out;
  std::ifstream list(list_of(owner));
  for (std::string line; std::getline(list, line);) {
    const std::string name = line.substr(0, kNameBytes);
    if (from_hex(name).size() == kHashBytes) out.push_back({name, line.size() > kNameBytes});
  }
  return out;
}

uint64_t Files::drop_stale_tails() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !writing_; });
  std::set<std::string> needed;  // whole pages, and every session's newest tail
  for (const Save& save : queue_) needed.insert(to_hex(save.key));
  const std::vector<std::string> all = owners();
  for (const std::string& owner : all) {
    const std::vector<Listed> listed = listed_by(owner);
    const auto newest = std::find_if(listed.rbegin(), listed.rend(), [](const Listed& l) { return l.tail; });
    for (const Listed& entry : listed) {
      if (!entry.tail || (newest != listed.rend() && entry.name == newest->name)) needed.insert(entry.name);
    }
  }
  const uint64_t before = total_;
  for (const std::string& owner : all) {
    std::string left;
    for (const Listed& entry : listed_by(owner)) {
      if (needed.contains(entry.name)) {
        left += entry.name + (entry.tail ? " tail\n" : "\n");
      } else {
        drop(from_hex(entry.name));
        noted_.erase(owner + from_hex(entry.name));
      }
    }
    (void)write_file(list_of(owner), {left});  // if not, names of what is gone stay in it
  }
  return before - total_;
}

}  // namespace

Result<std::unique_ptr<KvBlockFiles>> KvBlockFiles::open(const std::string& folder, const KvBlockLimits& limits) {
  std::error_code ec;
  for (const char* part : {"/all", "/by-session"}) {
    fs::create_directories(folder + part, ec);
    if (ec) return Failure{Code::kIo, "cannot make the folder " + folder + part + ": " + ec.message()};
    ::chmod((folder + part).c_str(), 0700);
  }
  ::chmod(folder.c_str(), 0700);
  auto files = std::make_unique<Files>(folder, KVASIR_TRY(read_secret(folder + "/secret")), limits);
  files->scan();
  return std::unique_ptr<KvBlockFiles>(std::move(files));
}

}  // namespace kvasir
