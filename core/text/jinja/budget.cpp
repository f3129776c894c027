#include "core/text/jinja/budget.h"

#include <time.h>

#include <algorithm>

namespace kvasir::jinja {
namespace {
constexpr uint64_t kOperationsBetweenClockReads = 2048;
}  // namespace

Result<void> Budget::check() {
  if (used_ > limits_.max_operations) {
    return Failure{Code::kTooLarge, "the chat template needs more than " + std::to_string(limits_.max_operations) +
                                        " operations (template operations limit)"};
  }
  if (thread_time() >= deadline_) {
    return Failure{Code::kTooLarge, "the chat template ran longer than " + std::to_string(limits_.max_time.count()) +
                                        " ms (template time limit)"};
  }
  next_check_ = std::min(used_ + kOperationsBetweenClockReads, limits_.max_operations + 1);
  return {};
}

std::chrono::nanoseconds Budget::thread_time() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

Failure Budget::too_long() const {
  return Failure{Code::kTooLarge, "the chat template makes a text of more than " +
                                      std::to_string(limits_.max_output_bytes) + " bytes (template output limit)"};
}

}  // namespace kvasir::jinja
