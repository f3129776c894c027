// One process per data folder: an flock on its LOCK file, given back when the process ends however it ends.
#pragma once

#include <string>
#include <utility>

#include "core/base/result.h"

namespace kvasir {

class FolderLock {
 public:
  /// Errors: kConflict (somebody else holds it; the message says what to do), kIo.
  static Result<FolderLock> take(const std::string& folder);
  FolderLock(FolderLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FolderLock& operator=(FolderLock&&) = delete;
  ~FolderLock();

 private:
  explicit FolderLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace kvasir
