// Weights decoded to f16 once, for the long steps that multiply 16-bit floats: as many as fit into memory that nobody else
// wants. What has no copy is decoded in each long step. Copies give way to a KV pool, and for good to activations that did
// not fit. Contents are there once the step that decodes them has ended well. Engine thread only, owned by the backend.
#pragma once

#include <map>
#include <span>

#include "backends/cuda/device.h"

namespace kvasir::cuda {

class HalfCopies {
 public:
  /// At most `most_bytes`, and `reserve_bytes` of the device's memory stay free.
  HalfCopies(Device& device, uint64_t most_bytes, uint64_t reserve_bytes) : device_(device), most_bytes_(most_bytes), reserve_bytes_(reserve_bytes) {}

  struct Place {
    uint16_t* data = nullptr;  ///< null: no memory for this one
    bool to_fill = false;      ///< the caller's step must decode into it, and say later how it ended
  };
  /// `weight`: CudaWeight::serial().
  Place take(uint64_t weight, uint64_t bytes) noexcept {
    auto found = copies_.find(weight);
    if (found == copies_.end()) {
      if (full_ || bytes > most_bytes_ - bytes_) return {};
      const auto memory = device_.memory();
      full_ = !memory || memory->free_bytes < reserve_bytes_ || memory->free_bytes - reserve_bytes_ < bytes;
      if (full_) return {};
      auto buffer = DeviceBuffer::create(device_, DeviceBuffer::Kind::kDevice, bytes);
      full_ = !buffer;
      if (full_) return {};
      bytes_ += bytes;
      found = copies_.emplace(weight, Copy{*std::move(buffer), State::kEmpty}).first;
    }
    const bool first = found->second.state == State::kEmpty;
    if (first) found->second.state = State::kFilling;
    return {reinterpret_cast<uint16_t*>(found->second.memory.data()), first};
  }
  /// What a step was to fill is there, or must be decoded again.
  void settle(std::span<const uint64_t> weights, bool well) noexcept {
    for (const uint64_t weight : weights) {
      if (const auto found = copies_.find(weight); found != copies_.end()) found->second.state = well ? State::kFilled : State::kEmpty;
    }
  }
  /// Frees all; never between a step's recording and its end.
  void release() noexcept {
    copies_.clear();
    bytes_ = 0;
    full_ = false;
  }
  /// As release(), and no more copies after it.
  void give_up() noexcept {
    release();
    full_ = true;
  }
  uint64_t bytes() const noexcept { return bytes_; }

 private:
  enum class State : uint8_t { kEmpty, kFilling, kFilled };
  struct Copy {
    DeviceBuffer memory;
    State state;
  };
  Device& device_;
  const uint64_t most_bytes_, reserve_bytes_;
  std::map<uint64_t, Copy> copies_;
  uint64_t bytes_ = 0;
  bool full_ = false;
};

}  // namespace kvasir::cuda
