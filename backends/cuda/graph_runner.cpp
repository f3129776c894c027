#include "backends/cuda/graph_runner.h"

#include <algorithm>

namespace kvasir::cuda {
namespace {

uint64_t hash_of(std::span<const uint8_t> bytes) noexcept {  // programs are whole words
  uint64_t hash = 0x9E3779B97F4A7C15U ^ bytes.size();
  for (size_t at = 0; at + 8 <= bytes.size(); at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, 8);
    hash = (hash ^ word) * 0x100000001B3U;
    hash ^= hash >> 29U;
  }
  return hash;
}

}  // namespace

GraphRunner::Entry* GraphRunner::find(uint64_t hash, std::span<const uint8_t> bytes) noexcept {
  for (Entry& entry : entries_) {
    if (entry.hash == hash && std::ranges::equal(entry.bytes, bytes)) return &entry;
  }
  return nullptr;
}

void GraphRunner::remember(uint64_t hash, std::span<const uint8_t> bytes) {
  if (entries_.size() == kKept) {
    entries_.erase(std::ranges::min_element(entries_, {}, &Entry::last_use));
  }
  entries_.push_back({hash, clock_, {bytes.begin(), bytes.end()}, nullptr});
}

Result<void> GraphRunner::capture(Entry& entry, const StepProgram& program) {
  KVASIR_TRY(device_.begin_capture());
  auto enqueued = program.enqueue(device_, overlap_);
  auto graph = device_.end_capture();  // also after an error: the queue must leave its capture
  if (!enqueued) return enqueued;
  if (!graph) return Failure(std::move(graph).error());
  entry.graph = *std::move(graph);
  ++counts_.captured;
  return {};
}

Result<void> GraphRunner::run(const StepProgram& program) {
  ++clock_;
  if (mode_ == Mode::kEager || !off_because_.empty() || program.bytes().size() > kMaxProgramBytes) {
    ++counts_.eager;
    return program.enqueue(device_, overlap_);
  }
  const uint64_t hash = hash_of(program.bytes());
  Entry* entry = find(hash, program.bytes());
  if (entry == nullptr) {
    remember(hash, program.bytes());
    ++counts_.eager;
    return program.enqueue(device_, overlap_);
  }
  entry->last_use = clock_;
  if (entry->graph == nullptr) {
    const auto captured = capture(*entry, program);
    if (!captured) {
      if (device_.lost()) return captured;
      off_because_ = captured.error().message;
      entries_.clear();
      ++counts_.eager;
      return program.enqueue(device_, overlap_);
    }
  }
  ++counts_.replayed;
  return device_.replay(*entry->graph);
}

}  // namespace kvasir::cuda
