// A file of packed weights: what was made of a model's tensors, ready to use. Little-endian, 64-byte aligned:
//
//   header   "KVPACK01", u64 header bytes, u64[2] XXH3-128 of the rest of the header, then
//            key and note (u32 length, bytes), u64 data offset, u64 data bytes,
//            u32 tensors x {u64 name, u64 offset in the data, u64 bytes}, u32 pieces x {u64 XXH3-64}
//   data     from a multiple of 2 MiB on, to the end of the file; a piece is 4 MiB, the last one less
//
// Files are written beside their name and renamed, never changed after that, and checked whole before a byte is used: a
// torn, cut, altered or foreign one is an error. Any thread.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <unordered_map>
#include <vector>

#include "backends/cpu/parallel.h"
#include "backends/cpu/weight_memory.h"

namespace kvasir::cpu {

/// `tensor` names what was packed and how (PackedCache).
struct PackedTensor {
  uint64_t tensor = 0;
  WeightBlock block = {};
};

class PackedFile {
 public:
  /// Opens and verifies with all threads of `team`. The weights lie in mapped huge pages, or, where the file system
  /// gives none, are copied into anonymous ones: small pages would cost every decoded token more than this once.
  /// Errors: kNotFound (none, or of another key), kCorrupt, kIo, kTooLarge.
  static Result<std::unique_ptr<PackedFile>> open(const std::string& path, const std::string& key, Team& team);

  const std::string& note() const noexcept { return note_; }
  bool mapped() const noexcept { return mapped_; }
  uint64_t bytes() const noexcept { return bytes_; }
  /// Nothing if there is no such tensor of that size. What is returned keeps the memory alive, not this object.
  std::optional<WeightBlock> find(uint64_t tensor, uint64_t bytes) const;

 private:
  struct Header;
  struct Place {
    uint64_t offset, bytes;
  };
  PackedFile() = default;
  static Result<Header> read_header(int fd, uint64_t file_bytes);
  bool map(int fd, const Header& header, Team& team);
  Result<void> read(int fd, const Header& header, Team& team);

  std::string note_;
  std::unordered_map<uint64_t, Place> places_;
  std::shared_ptr<const void> memory_;
  uint8_t* data_ = nullptr;
  uint64_t bytes_ = 0;
  bool mapped_ = false;
};

/// Bytes of the file that write_packed_file() makes of these.
uint64_t packed_file_bytes(std::span<const PackedTensor> tensors, const std::string& key, const std::string& note);
/// Writes `path`, private to the user, by way of a file of another name; looks at `stop` every 4 MiB. Not synced: what a
/// power cut tears does not verify. Errors: kIo, kCancelled.
Result<void> write_packed_file(const std::string& path, const std::string& key, const std::string& note,
                               std::span<const PackedTensor> tensors, const std::stop_token& stop);

}  // namespace kvasir::cpu
