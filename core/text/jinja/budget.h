// What one rendering (or parsing) may still use: operations, time, bytes of one string, depth. Everything that grows
// with its input spends here before it allocates. Owned by one rendering, one thread. Errors: kTooLarge, by name.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "core/base/result.h"
#include "core/text/chat_template.h"

namespace kvasir::jinja {

class Budget {
 public:
  explicit Budget(const TemplateLimits& limits) : limits_(limits), deadline_(thread_time() + limits.max_time) {}

  /// One operation is about one evaluated node, or 64 bytes moved.
  Result<void> spend(uint64_t operations) {
    used_ +=
        operations;  // cannot wrap: one call spends at most a string's or list's size, and the first excess ends all
    if (used_ >= next_check_) return check();
    return {};
  }

  /// Before a string of `bytes` is made. An intermediate string may be as long as the whole output.
  Result<void> spend_bytes(size_t bytes) {
    if (bytes > limits_.max_output_bytes) return too_long();
    return spend(2 + bytes / 64);
  }

  /// Before `count` list items or dictionary entries are made.
  Result<void> spend_items(size_t count) { return spend(1 + count / 2); }

  const TemplateLimits& limits() const noexcept { return limits_; }
  uint64_t used() const noexcept { return used_; }

 private:
  Result<void> check();
  Failure too_long() const;
  /// The thread's own time, not the wall's: a busy machine must not make an honest template fail.
  static std::chrono::nanoseconds thread_time();

  TemplateLimits limits_;
  std::chrono::nanoseconds deadline_;
  uint64_t used_ = 0;
  uint64_t next_check_ = 0;
};

/// Counts one level of recursion while it lives.
class Descent {
 public:
  explicit Descent(uint32_t& depth) : depth_(depth) { ++depth_; }
  ~Descent() { --depth_; }
  Descent(const Descent&) = delete;
  Descent& operator=(const Descent&) = delete;

  Result<void> at_most(uint32_t limit, const char* what) const {
    if (depth_ <= limit) return {};
    return Failure{Code::kTooLarge,
                   std::string(what) + " is nested more than " + std::to_string(limit) + " levels deep"};
  }

 private:
  uint32_t& depth_;
};

}  // namespace kvasir::jinja
