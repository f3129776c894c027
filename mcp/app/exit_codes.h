// What the process returns (interface.md, decisions.md 29).
#pragma once

#include "core/base/result.h"

namespace kvasir::app {

inline constexpr int kDone = 0, kFailed = 1, kRefused = 2, kMissing = 3, kTryAgain = 75, kBadConfiguration = 78,
                     kInterrupted = 130;

constexpr int exit_code(Code code) noexcept {
  switch (code) {
    case Code::kInvalidArgument:
    case Code::kNotFound:
    case Code::kTooLarge:
    case Code::kCorrupt:
    case Code::kUnsupported:
      return kRefused;
    case Code::kUnavailable:
      return kMissing;
    case Code::kConflict:
    case Code::kBusy:
      return kTryAgain;
    case Code::kCancelled:
      return kInterrupted;
    case Code::kDeadline:
    case Code::kIo:
    case Code::kBackend:
    case Code::kInternal:
      return kFailed;
  }
  return kFailed;
}

}  // namespace kvasir::app
