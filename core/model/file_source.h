// A regular file opened once for positioned reads; directories, pipes and devices are refused without reading. The same
// descriptor is used from open to the end of the load, so a file replaced by rename is never mixed with its successor.
// Thread-safe.
#pragma once

#include <memory>
#include <string>

#include "backends/backend.h"

namespace kvasir {

class FileSource final : public ByteSource {
 public:
  /// Errors: kNotFound, kIo (no permission, not a regular file: the message says which).
  static Result<std::unique_ptr<FileSource>> open(const std::string& path);
  ~FileSource() override;
  FileSource(const FileSource&) = delete;
  FileSource& operator=(const FileSource&) = delete;

  Result<void> read(uint64_t offset, std::span<std::byte> into) const override;
  uint64_t size() const noexcept { return size_; }
  const std::string& path() const noexcept { return path_; }
  /// Error kCorrupt if size or modification time are no longer those at open().
  Result<void> check_unchanged() const;

 private:
  FileSource(int fd, std::string path, uint64_t size, int64_t modified_ns)
      : fd_(fd), path_(std::move(path)), size_(size), modified_ns_(modified_ns) {}
  int fd_;
  std::string path_;
  uint64_t size_;
  int64_t modified_ns_;
};

/// `text` from a file, safe to print in a message: other bytes than printable ASCII become '?', cut to 80.
std::string printable(std::string_view text);

}  // namespace kvasir
