// Identity of a model: XXH3-128 of each tensor's bytes, then XXH3-128 over that list and the metadata. Two files with
// the same fingerprint compute the same; KV pages and sessions are bound to it.
#pragma once

#include <atomic>
#include <future>
#include <string>
#include <vector>

#include "core/model/model_file.h"

namespace kvasir {

/// Hex identity of metadata and tensor table alone: cheap, known before the load.
std::string header_fingerprint(const ModelFile& file);

/// Hashes all tensors, as they are stored (what a load makes of them follows from the types in the header), on a thread
/// of its own while the loader packs them: it reads in file order, so one of the two finds the other's pages in memory.
/// `file` must outlive the object.
class WeightHasher {
 public:
  explicit WeightHasher(const ModelFile& file);
  /// Stops at the next megabyte if result() was not awaited.
  ~WeightHasher();
  WeightHasher(const WeightHasher&) = delete;
  WeightHasher& operator=(const WeightHasher&) = delete;
  /// Waits. Errors: those of reading. Call once.
  Result<std::string> result();

 private:
  Result<std::string> hash();
  const ModelFile& file_;
  std::atomic<bool> stop_{false};
  std::future<Result<std::string>> work_;
};

}  // namespace kvasir
