// Counters of inference for metrics, `doctor` and tests. A snapshot by value; see Engine::metrics().
#pragma once

#include <atomic>
#include <cstdint>

namespace kvasir {

/// Sums since the start, over all engines of a pool, and the state of now. Mean batch = sequences / steps.
struct EngineMetrics {
  uint64_t steps = 0;
  uint64_t rows = 0;               ///< tokens computed
  uint64_t sequences = 0;          ///< summed over steps: sequences that had rows in it
  uint64_t prompt_tokens = 0;      ///< of admitted requests
  uint64_t cached_tokens = 0;      ///< of them found in the prefix index
  uint64_t completion_tokens = 0;
  uint64_t guessed_tokens = 0;     ///< rows spent on guesses of prompt lookup
  uint64_t accepted_tokens = 0;    ///< of them right
  uint64_t parked = 0;             ///< times that a sequence gave up its pages
  uint64_t step_microseconds = 0;
  uint64_t backend_errors = 0;
  uint64_t loads = 0;
  uint64_t in_flight = 0;          ///< commands without their final event
  uint64_t waiting = 0;            ///< sequences without pages
  uint64_t running = 0;            ///< sequences with pages
  uint64_t loaded_models = 0;
  uint64_t kv_total_pages = 0;     ///< of the first group
  uint64_t kv_free_pages = 0;
};

/// What one engine thread writes and others read; each value by itself is exact, together they may be a step apart.
struct EngineCounters {
  std::atomic<uint64_t> steps{0}, rows{0}, sequences{0}, prompt_tokens{0}, cached_tokens{0}, completion_tokens{0},
      guessed_tokens{0}, accepted_tokens{0}, parked{0}, step_microseconds{0}, backend_errors{0}, loads{0}, waiting{0}, running{0}, kv_total_pages{0}, kv_free_pages{0};

  void add_to(EngineMetrics& sum) const noexcept {
    sum.steps += steps.load(std::memory_order_relaxed);
    sum.rows += rows.load(std::memory_order_relaxed);
    sum.sequences += sequences.load(std::memory_order_relaxed);
    sum.prompt_tokens += prompt_tokens.load(std::memory_order_relaxed);
    sum.cached_tokens += cached_tokens.load(std::memory_order_relaxed);
    sum.completion_tokens += completion_tokens.load(std::memory_order_relaxed);
    sum.guessed_tokens += guessed_tokens.load(std::memory_order_relaxed);
    sum.accepted_tokens += accepted_tokens.load(std::memory_order_relaxed);
    sum.parked += parked.load(std::memory_order_relaxed);
    sum.step_microseconds += step_microseconds.load(std::memory_order_relaxed);
    sum.backend_errors += backend_errors.load(std::memory_order_relaxed);
    sum.loads += loads.load(std::memory_order_relaxed);
    sum.waiting += waiting.load(std::memory_order_relaxed);
    sum.running += running.load(std::memory_order_relaxed);
    sum.kv_total_pages += kv_total_pages.load(std::memory_order_relaxed);
    sum.kv_free_pages += kv_free_pages.load(std::memory_order_relaxed);
  }
};

}  // namespace kvasir
