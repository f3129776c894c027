// Runs step programs: the first time a program is seen it runs launch by launch (which also loads every kernel it needs:
// loading inside a capture is an error), the second time it is captured into a graph, from then on the graph is
// replayed. Keeps the latest few programs. A capture that fails for a reason that is not sticky turns graphs off and says
// why; the step still runs. Engine thread only.
#pragma once

#include <string>
#include <vector>

#include "backends/cuda/step_program.h"

namespace kvasir::cuda {

struct GraphCounts {
  uint64_t eager = 0, captured = 0, replayed = 0;
};

class GraphRunner {
 public:
  enum class Mode : uint8_t { kGraphs, kEager };
  GraphRunner(Device& device, Mode mode, StepProgram::Overlap overlap) : device_(device), mode_(mode), overlap_(overlap) {}

  /// Enqueues the program; does not wait. Errors: those of the device.
  Result<void> run(const StepProgram& program);
  const GraphCounts& counts() const noexcept { return counts_; }
  /// Why graphs are off; empty while they are on.
  const std::string& off_because() const noexcept { return off_because_; }

  static constexpr size_t kKept = 24;
  static constexpr size_t kMaxProgramBytes = size_t{4} << 20;  ///< longer ones are never captured

 private:
  struct Entry {
    uint64_t hash = 0, last_use = 0;
    std::vector<uint8_t> bytes;
    std::unique_ptr<Graph> graph;
  };
  Entry* find(uint64_t hash, std::span<const uint8_t> bytes) noexcept;
  void remember(uint64_t hash, std::span<const uint8_t> bytes);
  Result<void> capture(Entry& entry, const StepProgram& program);

  Device& device_;
  Mode mode_;
  StepProgram::Overlap overlap_;
  GraphCounts counts_;
  std::string off_because_;
  std::vector<Entry> entries_;
  uint64_t clock_ = 0;
};

}  // namespace kvasir::cuda
