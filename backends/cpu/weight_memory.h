// Where a backend's weights lie: side by side in big chunks of huge pages. A mapping per tensor would leave its tail,
// and small tensors whole, on pages of 4 KiB, or waste a megabyte each; decoding TinyLlama's Q4_K_M took a fifth longer
// so. Any thread.
#pragma once

#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>

#include "backends/cpu/aligned_buffer.h"

namespace kvasir::cpu {

/// A part of a chunk, which lives as long as any of its parts: 64-byte aligned; zeroed, or of a packed file.
struct WeightBlock {
  std::shared_ptr<const void> chunk = {};
  uint8_t* data = nullptr;
  uint64_t bytes = 0;
};

class WeightMemory {
 public:
  /// Errors: kTooLarge.
  Result<WeightBlock> take(uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    const uint64_t room = chunk_ ? chunk_->bytes() - used_ : 0;
    if (bytes > room) {
      // A chunk is only address space until it is written to: what is left of the last one costs nothing.
      chunk_ = std::make_shared<const AlignedBuffer>(KVASIR_TRY(AlignedBuffer::create(std::max(bytes, kChunk))));
      used_ = 0;
    }
    WeightBlock block{chunk_, chunk_->data() + used_, bytes};
    used_ = std::min(chunk_->bytes(), used_ + (bytes + 63) / 64 * 64);
    return block;
  }

 private:
  static constexpr uint64_t kChunk = uint64_t{64} << 20;
  std::mutex mutex_;
  std::shared_ptr<const AlignedBuffer> chunk_;
  uint64_t used_ = 0;
};

}  // namespace kvasir::cpu
