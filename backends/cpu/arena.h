// Bump allocation for one step: activations, recorded arguments, cursors. reset() keeps the memory, so that a steady
// stream of equal steps allocates nothing. Engine thread only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "backends/cpu/aligned_buffer.h"

namespace kvasir::cpu {

class Arena {
 public:
  void reset() noexcept { rewind(0); }
  /// The place of the next take(). Places are ordered.
  uint64_t place() const noexcept { return uint64_t{chunk_} << 40U | used_; }
  /// Forgets everything taken since `place` was the place.
  void rewind(uint64_t place) noexcept {
    chunk_ = static_cast<size_t>(place >> 40U);
    used_ = place & ((uint64_t{1} << 40U) - 1);
  }
  /// 64-byte aligned, not cleared; null when memory is out. Addresses stay valid until reset().
  uint8_t* take(uint64_t bytes) noexcept {
    bytes = (bytes + 63) / 64 * 64;
    for (; chunk_ < chunks_.size(); ++chunk_, used_ = 0) {
      if (chunks_[chunk_].bytes() - used_ >= bytes) {
        uint8_t* at = chunks_[chunk_].data() + used_;
        used_ += bytes;
        return at;
      }
    }
    auto chunk = AlignedBuffer::create(std::max(bytes, kChunk));
    if (!chunk) return nullptr;
    chunks_.push_back(*std::move(chunk));
    used_ = bytes;
    return chunks_.back().data();
  }

 private:
  static constexpr uint64_t kChunk = uint64_t{4} << 20;
  std::vector<AlignedBuffer> chunks_;
  size_t chunk_ = 0;
  uint64_t used_ = 0;
};

}  // namespace kvasir::cpu
