// The three things that this folder needs from the io thread: run later, run after a delay, what time it is. Production
// wraps rpc::Server and SteadyClock (host.cpp); tests move time by hand. Only post() may be called from other threads.
#pragma once

#include <chrono>

#include "core/base/clock.h"
#include "core/base/unique_function.h"

namespace kvasir::mcp {

class EventLoop {
 public:
  virtual ~EventLoop() = default;
  virtual void post(UniqueFunction<void()> task) = 0;
  /// Runs `task` once after `delay`; it cannot be taken back, so tasks hold weak pointers.
  virtual void after(std::chrono::milliseconds delay, UniqueFunction<void()> task) = 0;
  virtual TimePoint now() const = 0;
};

}  // namespace kvasir::mcp
