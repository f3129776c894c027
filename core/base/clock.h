// Time as an injected dependency: code that waits or measures takes a Clock, tests give it a ManualClock. Thread-safe.
#pragma once

#include <atomic>
#include <chrono>

namespace kvasir {

using TimePoint = std::chrono::steady_clock::time_point;
using Milliseconds = std::chrono::duration<double, std::milli>;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint now() const noexcept = 0;
};

class SteadyClock final : public Clock {
 public:
  TimePoint now() const noexcept override { return std::chrono::steady_clock::now(); }
};

/// A clock that moves only when told to.
class ManualClock final : public Clock {
 public:
  TimePoint now() const noexcept override { return TimePoint(std::chrono::nanoseconds(ns_.load())); }
  void advance(std::chrono::nanoseconds by) noexcept { ns_.fetch_add(by.count()); }

 private:
  std::atomic<int64_t> ns_{0};
};

}  // namespace kvasir
