// A disk for SQLite that fails or loses power as a test says: a VFS around the system's, which can refuse the n-th
// write or fsync, and records every write so that the states after a power cut can be made (synced data stays; what was
// not synced arrives in any part and order, torn at sectors). One at a time; test thread and store on one thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace kvasir::test {

class FaultDisk {
 public:
  FaultDisk();
  ~FaultDisk();
  FaultDisk(const FaultDisk&) = delete;
  FaultDisk& operator=(const FaultDisk&) = delete;

  /// For StoreOptions::vfs.
  static constexpr const char* kName = "kvasir-fault-disk";

  enum class Fault : uint8_t { kFull, kWriteError, kSyncError };
  /// The `nth` (from 1) write or sync from now on fails, and with `kFull` and `kWriteError` all after it.
  void fail(Fault fault, int nth);
  void heal() { fault_.reset(); }
  bool fired() const noexcept { return fired_; }

  /// Operations so far: a moment to cut the power at.
  size_t moment() const noexcept { return log_.size(); }
  /// The files of `from` as they may be when the power goes at `moment`, written to `to`.
  void after_power_cut(size_t moment, uint32_t seed, const std::filesystem::path& to) const;

  // For the VFS.
  struct Op {
    enum class Kind : uint8_t { kWrite, kTruncate, kSync, kDelete } kind;
    std::string file;
    uint64_t offset = 0;
    std::string data;
  };
  /// What the operation must answer instead of being done, or 0.
  int before(const Op& op);
  void done(Op op) { log_.push_back(std::move(op)); }

 private:
  std::optional<Fault> fault_;
  int left_ = 0;
  bool fired_ = false;
  std::vector<Op> log_;
};

}  // namespace kvasir::test
