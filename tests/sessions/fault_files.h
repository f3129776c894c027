// Files in memory for what keeps pages of KV: they can refuse the n-th operation of a kind, and be as a power cut would
// leave them (what was synced stays; of the rest any part arrived, torn at sectors, or as zeros; names in any order).
// Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "sessions/file_environment.h"

namespace kvasir::test {

class FaultFiles final : public FileEnvironment, public std::enable_shared_from_this<FaultFiles> {
 public:
  enum class Op : uint8_t { kOpen, kCreate, kAppend, kRead, kWrite, kSync, kRename, kRemove, kList };
  enum class Error : uint8_t { kFull, kIo };
  /// The `nth` (from 1) operation of the kind and all after it fail, until heal(). A write arrives by half.
  void fail(Op op, int nth, Error error);
  void heal();
  /// Whether any operation was refused.
  bool fired() const;

  /// What happened so far: moments to cut the power at.
  size_t moment() const;
  std::shared_ptr<FaultFiles> after_power_cut(size_t moment, uint32_t seed) const;

  std::vector<std::string> names(const std::string& folder) const;
  std::string content(const std::string& path) const;
  void put(const std::string& path, const std::string& bytes);

  Result<std::unique_ptr<OpenFile>> open(const std::string& path) override;
  Result<std::unique_ptr<OpenFile>> create(const std::string& path) override;
  Result<std::unique_ptr<OpenFile>> append(const std::string& path) override;
  Result<void> rename(const std::string& from, const std::string& to) override;
  Result<void> remove(const std::string& path) override;
  Result<std::vector<FolderEntry>> list(const std::string& folder) override;
  Result<void> make_folder(const std::string& path) override;
  Result<void> sync_folder(const std::string& path) override;

 private:
  friend class FaultFile;
  /// One thing that a disk may or may not have seen when the power goes.
  struct Event {
    enum class Kind : uint8_t { kMade, kWritten, kSynced, kRenamed, kRemoved, kFolderSynced } kind;
    std::string path;  ///< of the file or folder then
    std::string other; ///< kRenamed: the old name
    size_t file = 0;   ///< which content
    uint64_t offset = 0;
    std::string data;
  };
  struct Content {
    std::string bytes;
    int64_t used = 0;
  };
  Result<void> before(Op op);
  Result<std::unique_ptr<OpenFile>> make(const std::string& path);

  mutable std::mutex mutex_;
  std::map<std::string, size_t> names_;  // guarded, as all below
  std::map<size_t, Content> contents_;
  size_t next_file_ = 1;
  int64_t clock_ = 0;
  std::vector<Event> events_;
  struct Fault {
    Op op;
    int left;
    Error error;
  };
  std::optional<Fault> fault_;
  bool fired_ = false;
};

}  // namespace kvasir::test
