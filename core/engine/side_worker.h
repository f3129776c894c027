// One thread for what must not wait for a step: templates, tokenising, reading model headers. Jobs run in order; one
// that has not started can be cancelled by its request's id. Thread-safe.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>

#include "core/base/unique_function.h"
#include "core/engine/messages.h"

namespace kvasir {

class SideWorker {
 public:
  struct Job {
    std::optional<GenerationId> id;       ///< absent: not to be cancelled by a request
    UniqueFunction<void()> run;
    UniqueFunction<void()> cancelled;     ///< instead of run, on cancel() or stop(); may be empty
  };
  SideWorker();
  ~SideWorker() { stop(); }
  SideWorker(const SideWorker&) = delete;
  SideWorker& operator=(const SideWorker&) = delete;

  void post(Job job);
  void cancel(GenerationId id);
  /// Cancels what has not started and joins. Idempotent; call from one thread.
  void stop();

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;  // guarded by mutex_
  bool stopping_ = false;  // guarded by mutex_
  std::jthread thread_;
};

}  // namespace kvasir
