#include "sessions/kv_block_files.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "core/base/log.h"
#include "sessions/chain_hash.h"
#include "sessions/kv_block_ledger.h"
#include "sessions/kv_owner_lists.h"

namespace kvasir {
namespace {

constexpr std::string_view kMagic = "KVSB0001";
constexpr size_t kHeaderBytes = 8 + 8 + kHashBytes;  // magic, payload length, key
constexpr std::string_view kSuffix = ".kvb";

std::string header_of(const std::string& key, size_t payload) {
  std::string out(kMagic);
  const uint64_t size = payload;
  out.append(reinterpret_cast<const char*>(&size), sizeof size);
  return out + key;
}

std::string_view view(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Without it no block can be found again, so it is on the disk before the first one.
Result<std::string> read_secret(FileEnvironment& files, const std::string& path) {
  auto secret = read_file(files, path, kHashBytes);
  if (!secret && secret.error().code == Code::kNotFound) {
    std::string made = random_salt();
    KVASIR_TRY(write_file(files, path, {made}, Durability::kSynced));
    return made;
  }
  if (secret && secret->size() == kHashBytes) return secret;
  if (!secret && secret.error().code != Code::kTooLarge) return secret;
  return Failure{Code::kCorrupt, path + " is damaged: delete the folder, it is only a cache"};
}

class Files final : public KvBlockFiles {
 public:
  Files(std::string folder, std::string secret, const KvBlockLimits& limits, std::shared_ptr<FileEnvironment> files)
      : folder_(std::move(folder)),
        secret_(std::move(secret)),
        limits_(limits),
        files_(std::move(files)),
        lists_(files_, folder_ + "/by-session") {}
  ~Files() override {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
  }
  /// Takes stock of the folder, oldest use first, and starts the thread. Before anything else.
  Result<void> start();

  std::string root(std::string_view identity) override { return keyed_hash(secret_, {"root", identity}); }
  std::string next(const std::string& parent, std::span<const TokenId> tokens) override {
    return keyed_hash(secret_, {"page", parent, view(std::as_bytes(tokens))});
  }

  bool contains(const std::string& key) override {
    const std::lock_guard lock(mutex_);
    return ledger_.contains(key) || queued_.contains(key);
  }
  Result<void> load(const std::string& key, std::span<std::byte> into) override;
  void save(KvBlock block) override;
  uint64_t forget(const std::string& owner) override;
  uint64_t drop_stale_tails() override;
  std::vector<std::string> owners() const override {
    const std::lock_guard lock(mutex_);
    return lists_.owners();
  }
  void flush() override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return settled_ && queue_.empty() && !writing_; });
  }
  uint64_t bytes() const override {
    const std::lock_guard lock(mutex_);
    return ledger_.bytes();
  }
  uint64_t bytes_of(std::string_view principal) const override {
    const std::string whose = tag_of(principal);
    const std::lock_guard lock(mutex_);
    return ledger_.bytes_of(whose);
  }

 private:
  std::string path_of(const std::string& key) const { return folder_ + "/all/" + to_hex(key) + std::string(kSuffix); }
  std::string tag_of(std::string_view principal) const { return keyed_hash(secret_, {"principal", principal}); }
  void settle();
  void write_behind();
  Result<void> write(const KvBlock& block);
  std::set<std::string> keys_of_others(const std::string& owner) const;
  void drop(const std::string& key);
  void make_room(const std::string& whose, uint64_t wanted);
  Result<void> read_block(const std::string& key, std::span<std::byte> into) const;

  const std::string folder_, secret_;
  const KvBlockLimits limits_;
  const std::shared_ptr<FileEnvironment> files_;
  mutable std::mutex mutex_;  // guards all below but the thread
  std::condition_variable changed_;
  KvOwnerLists lists_;
  KvBlockLedger ledger_;
  std::deque<KvBlock> queue_;
  std::set<std::string> queued_;                        // keys in the queue that bring bytes
  std::map<std::string, std::set<std::string>> noted_;  // key -> sessions whose lists have it, by this process
  uint64_t queued_bytes_ = 0;
  bool settled_ = false, writing_ = false, stop_ = false, failing_ = false;
  std::thread thread_;
};

Result<void> Files::start() {
  auto found = KVASIR_TRY(files_->list(folder_ + "/all"));
  std::ranges::sort(found, {}, &FolderEntry::used_ns);
  for (const auto& entry : found) {
    const bool named = entry.regular && entry.name.ends_with(kSuffix);
    const std::string key = named ? from_hex(entry.name.substr(0, entry.name.size() - kSuffix.size())) : std::string();
    if (key.size() == kHashBytes) {
      ledger_.add(key, entry.size, "");
    } else {
      (void)files_->remove(folder_ + "/all/" + entry.name).has_value();  // a write that a crash cut short, or not ours
    }
  }
  make_room("", 0);
  thread_ = std::thread([this] { write_behind(); });
  return {};
}

/// Whose the blocks are that were here at the start. One that no list names would outlive its session.
void Files::settle() {
  std::map<std::string, std::string> whose;
  std::unique_lock lock(mutex_);
  const auto known = ledger_.keys();
  const auto all = lists_.owners();
  for (const auto& owner : all) {
    if (stop_) return;
    lock.unlock();  // there may be many
    const OwnerList list = lists_.read(owner);
    for (const auto& block : list.blocks) whose[block.key] = list.whose;
    lock.lock();
  }
  for (const auto& key : known) {
    if (const auto found = whose.find(key); found != whose.end()) {
      ledger_.set_owner(key, found->second);
    } else if (!noted_.contains(key)) {
      drop(key);
    }
  }
  settled_ = true;
  changed_.notify_all();
}

void Files::drop(const std::string& key) {
  (void)files_->remove(path_of(key)).has_value();  // if it stays it is found at the next start
  ledger_.remove(key);
  noted_.erase(key);
}

void Files::make_room(const std::string& whose, uint64_t wanted) {
  if (!whose.empty()) {
    for (const auto& key : ledger_.victims_of(whose, wanted, limits_.max_bytes_per_principal)) drop(key);
  }
  for (const auto& key : ledger_.victims(wanted, limits_.max_bytes)) drop(key);
}

Result<void> Files::read_block(const std::string& key, std::span<std::byte> into) const {
  const auto file = KVASIR_TRY(files_->open(path_of(key)));
  const Failure damaged{Code::kCorrupt, "a stored block of KV was damaged"};
  if (KVASIR_TRY(file->size()) != kHeaderBytes + into.size() + kHashBytes) return damaged;
  std::string header(kHeaderBytes, '\0');
  std::string tag(kHashBytes, '\0');
  const auto read = [&](std::span<std::byte> part) -> Result<bool> { return KVASIR_TRY(file->read(part)) == part.size(); };
  if (!KVASIR_TRY(read(std::as_writable_bytes(std::span(header)))) || header != header_of(key, into.size()) ||
      !KVASIR_TRY(read(into)) || !KVASIR_TRY(read(std::as_writable_bytes(std::span(tag)))) ||
      tag != keyed_hash(secret_, {"block", header, view(into)})) {
    return damaged;
  }
  file->touch();
  return {};
}

Result<void> Files::load(const std::string& key, std::span<std::byte> into) {
  {
    const std::lock_guard lock(mutex_);
    const auto waiting = std::ranges::find_if(queue_, [&](const KvBlock& b) { return b.key == key && !b.bytes.empty(); });
    if (waiting != queue_.end() && waiting->bytes.size() == into.size()) {
      std::ranges::copy(waiting->bytes, into.begin());
      return {};
    }
  }
  auto done = read_block(key, into);
  const std::lock_guard lock(mutex_);
  if (done) {
    ledger_.use(key);
    return done;
  }
  if (done.error().code != Code::kNotFound) {
    log::warn("kv_block_unusable file=" + path_of(key) + " message=" + done.error().message);
  }
  if (ledger_.contains(key)) drop(key);  // else it is never written again
  return done;
}

void Files::save(KvBlock block) {
  {
    const std::lock_guard lock(mutex_);
    const auto noted = noted_.find(block.key);
    if (block.bytes.empty() && noted != noted_.end() && noted->second.contains(block.owner)) return;
    if (queued_bytes_ + block.bytes.size() > limits_.max_queued_bytes) return;  // late: it will be computed again
    queued_bytes_ += block.bytes.size();
    if (!block.bytes.empty()) queued_.insert(block.key);
    noted_[block.key].insert(block.owner);
    queue_.push_back(std::move(block));
  }
  changed_.notify_all();
}

Result<void> Files::write(const KvBlock& block) {
  const std::string whose = tag_of(block.principal);
  // First: a block without an owner could outlive the session's deletion.
  KVASIR_TRY(lists_.note(block.owner, whose, block.key, block.kind));
  if (block.bytes.empty()) return {};
  const uint64_t size = kHeaderBytes + block.bytes.size() + kHashBytes;
  if (size > std::min(limits_.max_bytes, limits_.max_bytes_per_principal)) {
    return Failure{Code::kTooLarge, "one page of KV is larger than all that may be kept"};
  }
  {
    const std::lock_guard lock(mutex_);
    make_room(whose, size);
  }
  const std::string header = header_of(block.key, block.bytes.size());
  const std::string tag = keyed_hash(secret_, {"block", header, view(block.bytes)});
  // Not synced: a block that a power cut tears does not verify.
  KVASIR_TRY(write_file(*files_, path_of(block.key), {header, view(block.bytes), tag}, Durability::kNone));
  const std::lock_guard lock(mutex_);
  ledger_.add(block.key, size, whose);
  return {};
}

void Files::write_behind() {
  settle();
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stop_ || !queue_.empty(); });
    if (stop_) return;                   // what is late is dropped: it can be computed again
    const KvBlock& block = queue_.front();  // stays findable while it is written
    writing_ = true;
    lock.unlock();
    const auto written = write(block);
    lock.lock();
    writing_ = false;
    if (!written) {
      if (!failing_) log::warn("kv_block_not_written message=" + written.error().message);  // once, until one succeeds
      noted_.erase(block.key);
    }
    failing_ = !written;
    queued_bytes_ -= block.bytes.size();
    if (!block.bytes.empty()) queued_.erase(block.key);
    queue_.pop_front();
    changed_.notify_all();
  }
}

/// What other sessions saved or used: a fork goes on when its origin is deleted, and the other way round.
std::set<std::string> Files::keys_of_others(const std::string& owner) const {
  std::set<std::string> keys;
  for (const std::string& other : lists_.owners()) {
    if (other == owner) continue;
    for (auto& block : lists_.read(other).blocks) keys.insert(std::move(block.key));
  }
  for (const KvBlock& block : queue_) keys.insert(block.key);
  return keys;
}

uint64_t Files::forget(const std::string& owner) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !writing_; });
  std::erase_if(queue_, [&](const KvBlock& block) {
    if (block.owner != owner) return false;
    queued_bytes_ -= block.bytes.size();
    if (!block.bytes.empty()) queued_.erase(block.key);
    return true;
  });
  for (auto& [key, sessions] : noted_) sessions.erase(owner);
  const uint64_t before = ledger_.bytes();
  const std::set<std::string> needed = keys_of_others(owner);
  for (const ListedBlock& block : lists_.read(owner).blocks) {
    if (!needed.contains(block.key)) drop(block.key);
  }
  lists_.remove(owner);
  return before - ledger_.bytes();
}

uint64_t Files::drop_stale_tails() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !writing_; });
  std::set<std::string> needed;  // whole pages, and every session's newest tail
  for (const KvBlock& block : queue_) needed.insert(block.key);
  std::map<std::string, OwnerList> lists;
  for (const std::string& owner : lists_.owners()) {
    const OwnerList& list = lists[owner] = lists_.read(owner);
    const auto newest = std::find_if(list.blocks.rbegin(), list.blocks.rend(), [](const ListedBlock& b) { return b.tail; });
    for (const ListedBlock& block : list.blocks) {
      if (!block.tail || (newest != list.blocks.rend() && block.key == newest->key)) needed.insert(block.key);
    }
  }
  const uint64_t before = ledger_.bytes();
  for (auto& [owner, list] : lists) {
    const size_t gone = std::erase_if(list.blocks, [&](const ListedBlock& block) {
      if (!needed.contains(block.key)) drop(block.key);
      return !ledger_.contains(block.key) && !queued_.contains(block.key);
    });
    if (gone > 0 || list.repeats) (void)lists_.replace(owner, list).has_value();  // if not, names of what is gone stay in it
  }
  return before - ledger_.bytes();
}

}  // namespace

Result<std::unique_ptr<KvBlockFiles>> KvBlockFiles::open(const std::string& folder, const KvBlockLimits& limits,
                                                         std::shared_ptr<FileEnvironment> files) {
  for (const char* part : {"", "/all", "/by-session"}) KVASIR_TRY(files->make_folder(folder + part));
  auto out = std::make_unique<Files>(folder, KVASIR_TRY(read_secret(*files, folder + "/secret")), limits, std::move(files));
  KVASIR_TRY(out->start());
  return std::unique_ptr<KvBlockFiles>(std::move(out));
}

}  // namespace kvasir
