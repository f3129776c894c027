// SIGINT and SIGTERM as something to ask about: the first one asks the running command to stop, the second quits at
// once. Made in main before any other thread exists (they inherit the blocked signals). Thread-safe.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <thread>

namespace kvasir::app {

class Interrupt {
 public:
  /// Blocks both signals for this and all later threads, and ignores SIGPIPE.
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  /// The first signal that came, or 0.
  int signal() const noexcept { return signal_.load(); }
  /// Called once from the watching thread at the first signal, at once if it came already. Empty: none.
  void on_signal(std::function<void()> fn);

 private:
  void watch();

  std::atomic<int> signal_{0};
  std::mutex mutex_;
  std::function<void()> fn_;  // guarded by mutex_
  int signal_fd_ = -1;
  int stop_fd_ = -1;
  std::thread thread_;
};

/// Ends the process with `code` if it still runs after this long: the last resort of a graceful stop. Cannot be undone.
void quit_after_ms(unsigned ms, int code);

}  // namespace kvasir::app
