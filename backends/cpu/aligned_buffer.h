// Owned memory for weights, KV pages and activations: aligned to 64 bytes, zeroed, on huge pages where it is big.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "core/base/result.h"

namespace kvasir::cpu {

class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  /// Reserves address space; pages are filled with zeros when first touched. Errors: kTooLarge.
  static Result<AlignedBuffer> create(uint64_t bytes);
  AlignedBuffer(AlignedBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)),
        mapped_(std::exchange(other.mapped_, 0)) {}
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(mapped_, other.mapped_);
    return *this;
  }
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;
  ~AlignedBuffer();

  uint8_t* data() const noexcept { return data_; }
  uint64_t bytes() const noexcept { return bytes_; }

 private:
  uint8_t* data_ = nullptr;
  uint64_t bytes_ = 0;
  uint64_t mapped_ = 0;  // 0: from aligned_alloc
};

}  // namespace kvasir::cpu
