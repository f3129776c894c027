// The front's view of inference: a mailbox. The front sends Commands and polls Events; which thread or process
// computes is hidden. EnginePool (engine_pool.h) is the implementation in this process; tests use FakeEngine.
#pragma once

#include <functional>
#include <optional>

#include "core/engine/engine_metrics.h"
#include "core/engine/messages.h"

namespace kvasir {

class Engine {
 public:
  virtual ~Engine() = default;
  /// Queues a command; never blocks. False: the bounded queue is full, nothing was taken (answer "busy").
  /// Cancel, Pause and Resume are always taken. Thread-safe.
  virtual bool send(Command command) = 0;
  /// The next event, if any. Call from one thread (the io thread) only.
  virtual std::optional<Event> poll() = 0;
  /// `wake` is called from engine threads when poll() may have become non-empty; it must only post. Set once, first.
  virtual void set_wake(std::function<void()> wake) = 0;
  /// Cancels everything in flight and joins all threads. Idempotent; no event comes after it returned.
  virtual void shutdown() = 0;
  /// Counters of now. Thread-safe. Engines that count nothing return zeros.
  virtual EngineMetrics metrics() const { return {}; }
};

/// One named limits struct of this layer, printed by `doctor`.
struct EngineLimits {
  uint32_t max_commands = 4096;       ///< queued
  uint32_t max_sequences = 64;        ///< decoding at once; more wait
  uint32_t max_step_rows = 256;       ///< tokens per step (prefill chunk + decodes)
  uint64_t max_parked_bytes = 512u << 20;  ///< KV of parked sequences in main memory
  uint32_t max_guesses = 7;           ///< rows per step for guessed tokens (prompt lookup)
  uint64_t max_prompt_tokens = 10'000'000;
  uint32_t max_stop_strings = 64;
  uint32_t max_stop_bytes = 4096;
  uint32_t max_logit_bias = 4096;
  uint32_t max_loaded_models = 4;
  uint64_t idle_unload_ms = 600'000;
};

}  // namespace kvasir
