// Files as what keeps pages of KV sees them: the system's, or a test's that fail, fill up and lose power. All are
// private (0600, folders 0700), no link is followed. Thread-safe but for one OpenFile, which one thread uses at a time.
// Errors: kNotFound (no such file, or a link), kTooLarge (the disk is full), kIo; the message names the path.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace kvasir {

/// Closed with the object.
class OpenFile {
 public:
  virtual ~OpenFile() = default;
  /// Goes on where it stopped; less than asked for only at the end.
  virtual Result<size_t> read(std::span<std::byte> into) = 0;
  /// All of it. After an error perhaps some.
  virtual Result<void> write(std::string_view bytes) = 0;
  virtual Result<uint64_t> size() = 0;
  /// What was written stays when the power goes (its name: sync_folder).
  virtual Result<void> sync() = 0;
  /// It was used now. On a read-only disk nothing happens.
  virtual void touch() = 0;
};

struct FolderEntry {
  std::string name;
  bool regular = false;  ///< a file, no link
  uint64_t size = 0;
  int64_t used_ns = 0;
};

class FileEnvironment {
 public:
  virtual ~FileEnvironment() = default;
  virtual Result<std::unique_ptr<OpenFile>> open(const std::string& path) = 0;    ///< to read
  virtual Result<std::unique_ptr<OpenFile>> create(const std::string& path) = 0;  ///< to write; an old one is removed
  virtual Result<std::unique_ptr<OpenFile>> append(const std::string& path) = 0;  ///< made if it is not there
  virtual Result<void> rename(const std::string& from, const std::string& to) = 0;
  virtual Result<void> remove(const std::string& path) = 0;
  virtual Result<std::vector<FolderEntry>> list(const std::string& folder) = 0;
  virtual Result<void> make_folder(const std::string& path) = 0;  ///< and those above it
  virtual Result<void> sync_folder(const std::string& path) = 0;
};

std::shared_ptr<FileEnvironment> system_files();

enum class Durability : uint8_t { kNone, kSynced };
/// A file that holds exactly these bytes, in one step: whoever looks sees the old one or this. kNone: a power cut may
/// leave anything. An error leaves the old one.
Result<void> write_file(FileEnvironment& files, const std::string& path, std::initializer_list<std::string_view> parts,
                        Durability durability);
/// The whole file. Errors also: kTooLarge above `max_bytes`.
Result<std::string> read_file(FileEnvironment& files, const std::string& path, uint64_t max_bytes);

}  // namespace kvasir
