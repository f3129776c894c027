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
  uint64_t size() const noexcept { return facts_.size; }
  const std::string& path() const noexcept { return path_; }
  /// Device, inode, size and times at open(): who has the same has read the same bytes on this machine.
  std::string identity() const;
  /// Error kCorrupt if size or modification time are no longer those at open().
  Result<void> check_unchanged() const;

 private:
  struct Facts {
    uint64_t device = 0, inode = 0, size = 0;
    int64_t modified_ns = 0, changed_ns = 0;
  };
  FileSource(int fd, std::string path, const Facts& facts)
      : fd_(fd), path_(std::move(path)), facts_(facts) {}
  int fd_;
  std::string path_;
  Facts facts_;
};

/// `text` from a file, safe to print in a message: other bytes than printable ASCII become '?', cut to 80.
std::string printable(std::string_view text);

}  // namespace kvasir
