// Which packed weights are kept in the cache folder: one file per model, layout and kernel table, the least recently
// used go first. Written behind the load by a thread that runs only when nobody else wants the core, and only where it
// pays: small models are packed as quickly. Loader thread, but for the writer.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "backends/backend.h"
#include "backends/cpu/packed_file.h"

namespace kvasir::cpu {

struct PackedCacheLimits {
  uint64_t min_bytes = uint64_t{256} << 20;         ///< of a model's packed weights
  uint64_t max_bytes = uint64_t{32} << 30;          ///< of all files
  uint32_t max_files = 8;
  uint64_t leave_free_bytes = uint64_t{8} << 30;    ///< on the disk, after writing
  std::chrono::milliseconds delay{10'000};          ///< after the load; a process that ends before writes nothing
};

class PackedCache {
 public:
  /// `kernels` names what else a packed tensor depends on: the table and its numerics version.
  PackedCache(std::string folder, std::string kernels, Team& team, const PackedCacheLimits& limits = {});
  ~PackedCache();  ///< gives up what is being written

  /// As WeightCache's.
  std::optional<std::string> begin(const std::string& identity);
  void finish(const std::string& note);

  /// The packed tensor, if begin() found it.
  std::optional<WeightBlock> find(const HostTensor& tensor, WeightUse use, uint64_t bytes) const;
  /// `block` is what this tensor was packed to.
  void packed(const HostTensor& tensor, WeightUse use, const WeightBlock& block);

 private:
  void write_behind(const std::stop_token& stop, const std::string& note);
  Result<void> make_room(uint64_t wanted) const;
  std::string path() const;

  const std::string folder_, kernels_;
  Team& team_;
  const PackedCacheLimits limits_;
  bool collecting_ = false;
  std::string key_;                      // of the load that goes on, or went on last
  std::unique_ptr<PackedFile> file_;     // found by begin(), until finish()
  std::vector<PackedTensor> collected_;  // the loader's until finish(), then the writer's
  std::mutex mutex_;                     // for the wait only
  std::condition_variable_any delay_;
  std::jthread writer_;                  // last: ends first
};

}  // namespace kvasir::cpu
