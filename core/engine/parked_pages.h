// KV of sequences that had to give up their pages, in main memory until they get others: put back, it need not be
// computed again. A cache: what is beyond the limit is not kept, and then computed, to the same bits. Engine thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

namespace kvasir {

class ParkedPages {
 public:
  explicit ParkedPages(uint64_t max_bytes) : max_bytes_(max_bytes) {}

  /// Keeps page `page` of this sequence. False: no room.
  bool keep(uint64_t sequence, size_t page, std::vector<std::byte> bytes);
  /// Whether one more page of this size would be kept.
  bool has_room(size_t bytes) const noexcept { return bytes_ + bytes <= max_bytes_; }
  /// The bytes of a page, or nothing.
  std::span<const std::byte> find(uint64_t sequence, size_t page) const;
  void forget(uint64_t sequence);
  uint64_t bytes() const noexcept { return bytes_; }

 private:
  uint64_t max_bytes_;
  uint64_t bytes_ = 0;
  std::map<uint64_t, std::map<size_t, std::vector<std::byte>>> pages_;
};

}  // namespace kvasir
