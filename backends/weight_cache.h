// Weights as a backend lays them out, kept in a file from one process to the next. Only a help: whatever goes wrong with
// it, weights are read and packed as ever. A backend that can do it also is a WeightCache (the others need not know:
// dynamic_cast tells). Used by the loader, one load at a time.
#pragma once

#include <optional>
#include <string>

namespace kvasir {

class WeightCache {
 public:
  virtual ~WeightCache() = default;
  /// From now on weights may be kept in this folder, which is only for them. Before the first load.
  virtual void keep_weights_in(const std::string& folder) = 0;
  /// Uploads of the model with this identity follow. Returns the note that was kept with its weights; nothing if they
  /// are not kept, or not whole: then they are collected. `identity` names the exact bytes of the model's files.
  virtual std::optional<std::string> begin_weights(const std::string& identity) = 0;
  /// All are uploaded. What was collected is kept, with the note, by a thread of its own, later.
  virtual void finish_weights(const std::string& note) = 0;
};

}  // namespace kvasir
