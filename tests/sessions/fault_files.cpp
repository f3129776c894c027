#include "tests/sessions/fault_files.h"

#include <algorithm>
#include <random>

namespace kvasir::test {
namespace {

constexpr size_t kSector = 512;

std::string folder_of(const std::string& path) {
  return path.substr(0, path.rfind('/'));
}

Failure absent(const std::string& path) {
  return {Code::kNotFound, "no " + path};
}

}  // namespace

class FaultFile final : public OpenFile {
 public:
  FaultFile(std::shared_ptr<FaultFiles> files, std::string path, size_t id)
      : files_(std::move(files)), path_(std::move(path)), id_(id) {}
  Result<size_t> read(std::span<std::byte> into) override {
    const std::lock_guard lock(files_->mutex_);
    KVASIR_TRY(files_->before(FaultFiles::Op::kRead));
    const std::string& bytes = files_->contents_[id_].bytes;
    const size_t size = std::min(into.size(), bytes.size() - std::min(bytes.size(), at_));
    std::ranges::copy(std::as_bytes(std::span(bytes)).subspan(at_, size), into.begin());
    at_ += size;
    return size;
  }
  Result<void> write(std::string_view data) override {
    const std::lock_guard lock(files_->mutex_);
    const auto allowed = files_->before(FaultFiles::Op::kWrite);
    if (!allowed) data = data.substr(0, data.size() / 2);
    std::string& bytes = files_->contents_[id_].bytes;
    files_->events_.push_back(
        {FaultFiles::Event::Kind::kWritten, path_, "", id_, bytes.size(), std::string(data)});
    bytes += data;
    files_->contents_[id_].used = ++files_->clock_;
    return allowed;
  }
  Result<uint64_t> size() override {
    const std::lock_guard lock(files_->mutex_);
    return files_->contents_[id_].bytes.size();
  }
  Result<void> sync() override {
    const std::lock_guard lock(files_->mutex_);
    KVASIR_TRY(files_->before(FaultFiles::Op::kSync));
    files_->events_.push_back({FaultFiles::Event::Kind::kSynced, path_, "", id_, 0, ""});
    return {};
  }
  void touch() override {
    const std::lock_guard lock(files_->mutex_);
    files_->contents_[id_].used = ++files_->clock_;
  }

 private:
  const std::shared_ptr<FaultFiles> files_;
  const std::string path_;
  const size_t id_;
  size_t at_ = 0;
};

void FaultFiles::fail(Op op, int nth, Error error) {
  const std::lock_guard lock(mutex_);
  fault_ = Fault{op, nth, error};
  fired_ = false;
}
void FaultFiles::heal() {
  const std::lock_guard lock(mutex_);
  fault_.reset();
}
bool FaultFiles::fired() const {
  const std::lock_guard lock(mutex_);
  return fired_;
}

Result<void> FaultFiles::before(Op op) {
  if (!fault_ || fault_->op != op || --fault_->left > 0) return {};
  fired_ = true;
  if (fault_->error == Error::kFull) return Failure{Code::kTooLarge, "no space left on device"};
  return Failure{Code::kIo, "input/output error"};
}

size_t FaultFiles::moment() const {
  const std::lock_guard lock(mutex_);
  return events_.size();
}

std::vector<std::string> FaultFiles::names(const std::string& folder) const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> out;
  for (const auto& [path, file] : names_) {
    if (folder_of(path) == folder) out.push_back(path.substr(folder.size() + 1));
  }
  return out;
}
std::string FaultFiles::content(const std::string& path) const {
  const std::lock_guard lock(mutex_);
  const auto found = names_.find(path);
  return found == names_.end() ? "" : contents_.at(found->second).bytes;
}
void FaultFiles::put(const std::string& path, const std::string& bytes) {
  const std::lock_guard lock(mutex_);
  const size_t file = names_[path] = next_file_++;
  contents_[file] = {bytes, ++clock_};
}

Result<std::unique_ptr<OpenFile>> FaultFiles::make(const std::string& path) {
  const size_t file = names_[path] = next_file_++;
  contents_[file] = {"", ++clock_};
  events_.push_back({Event::Kind::kMade, path, "", file, 0, ""});
  return std::unique_ptr<OpenFile>(std::make_unique<FaultFile>(shared_from_this(), path, file));
}

Result<std::unique_ptr<OpenFile>> FaultFiles::open(const std::string& path) {
  const std::lock_guard lock(mutex_);
  KVASIR_TRY(before(Op::kOpen));
  const auto found = names_.find(path);
  if (found == names_.end()) return absent(path);
  return std::unique_ptr<OpenFile>(std::make_unique<FaultFile>(shared_from_this(), path, found->second));
}
Result<std::unique_ptr<OpenFile>> FaultFiles::create(const std::string& path) {
  const std::lock_guard lock(mutex_);
  KVASIR_TRY(before(Op::kCreate));
  return make(path);
}
Result<std::unique_ptr<OpenFile>> FaultFiles::append(const std::string& path) {
  const std::lock_guard lock(mutex_);
  KVASIR_TRY(before(Op::kAppend));
  const auto found = names_.find(path);
  if (found == names_.end()) return make(path);
  return std::unique_ptr<OpenFile>(std::make_unique<FaultFile>(shared_from_this(), path, found->second));
}
Result<void> FaultFiles::rename(const std::string& from, const std::string& to) {
  const std::lock_guard lock(mutex_);
  KVASIR_TRY(before(Op::kRename));
  const auto found = names_.find(from);
  if (found == names_.end()) return absent(from);
  const size_t file = found->second;
  names_.erase(found);
  names_[to] = file;
  events_.push_back({Event::Kind::kRenamed, to, from, file, 0, ""});
  return {};
}
Result<void> FaultFiles::remove(const std::string& path) {
  const std::lock_guard lock(mutex_);
  KVASIR_TRY(before(Op::kRemove));
  if (names_.erase(path) == 0) return absent(path);
  events_.push_back({Event::Kind::kRemoved, path, "", 0, 0, ""});
  return {};
}
Result<std::vector<FolderEntry>> FaultFiles::list(const std::string& folder) {
  const std::lock_guard lock(mutex_);
  KVASIR_TRY(before(Op::kList));
  std::vector<FolderEntry> out;
  for (const auto& [path, file] : names_) {
    if (folder_of(path) != folder) continue;
    const Content& content = contents_.at(file);
    out.push_back({path.substr(folder.size() + 1), true, content.bytes.size(), content.used});
  }
  return out;
}
Result<void> FaultFiles::make_folder(const std::string&) {
  return {};
}
Result<void> FaultFiles::sync_folder(const std::string& path) {
  const std::lock_guard lock(mutex_);
  KVASIR_TRY(before(Op::kSync));
  events_.push_back({Event::Kind::kFolderSynced, path, "", 0, 0, ""});
  return {};
}

std::shared_ptr<FaultFiles> FaultFiles::after_power_cut(size_t moment, uint32_t seed) const {
  const std::lock_guard lock(mutex_);
  std::mt19937 random(seed);
  std::map<size_t, size_t> synced;               // file -> events before this one are on the disk
  std::map<std::string, size_t> folders_synced;  // the same of names
  for (size_t i = 0; i < moment; ++i) {
    if (events_[i].kind == Event::Kind::kSynced) synced[events_[i].file] = i;
    if (events_[i].kind == Event::Kind::kFolderSynced) folders_synced[events_[i].path] = i;
  }
  const size_t late = random() % 100;  // what is older the system has written by itself
  const auto sure = [&](const auto& marks, const auto& key, size_t i) {
    if (i + late < moment) return true;
    const auto mark = marks.find(key);
    return mark != marks.end() && i < mark->second;
  };
  auto out = std::make_shared<FaultFiles>();
  for (size_t i = 0; i < moment; ++i) {
    const Event& e = events_[i];
    const bool name_is_sure = sure(folders_synced, folder_of(e.path), i);
    switch (e.kind) {
      case Event::Kind::kWritten: {
        std::string& bytes = out->contents_[e.file].bytes;
        std::string data = e.data;
        if (!sure(synced, e.file, i)) {
          const uint32_t fate = random() % 4;
          if (fate == 0) continue;
          if (fate == 1) data.resize(std::min(data.size(), random() % (data.size() / kSector + 1) * kSector));
          if (fate == 2) data.assign(data.size(), '\0');  // it got its place, not its bytes
        }
        if (bytes.size() < e.offset) bytes.resize(e.offset);
        bytes.replace(e.offset, data.size(), data);
        break;
      }
      case Event::Kind::kMade:
        if (name_is_sure || random() % 2 == 0) out->names_[e.path] = e.file;
        break;
      case Event::Kind::kRenamed:
        if (name_is_sure || random() % 2 == 0) {
          out->names_.erase(e.other);
          out->names_[e.path] = e.file;
        }
        break;
      case Event::Kind::kRemoved:
        if (name_is_sure || random() % 2 == 0) out->names_.erase(e.path);
        break;
      case Event::Kind::kSynced:
      case Event::Kind::kFolderSynced:
        break;
    }
  }
  for (const auto& [path, file] : out->names_) out->contents_[file].used = ++out->clock_;
  out->next_file_ = next_file_;
  return out;
}

}  // namespace kvasir::test
