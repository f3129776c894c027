// Memory of one step. StepArena: device memory for activations and scratch, with places to go back to. Mirror: host bytes
// and their device copies at the same offsets, so that everything a step brings in (or takes out) is one copy each way.
// Both keep their memory and give out the same addresses for equal steps, which is what lets a captured graph be used
// again; both join their chunks at the next reset() when one was not enough. Engine thread only.
#pragma once

#include <algorithm>
#include <vector>

#include "backends/cuda/device.h"

namespace kvasir::cuda {

constexpr uint64_t kAlignment = 256;
constexpr uint64_t align_up(uint64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

class StepArena {
 public:
  StepArena(Device& device, uint64_t chunk_bytes) : device_(device), chunk_bytes_(chunk_bytes) {}
  /// Frees everything. Nothing that was taken may still be in use by the device.
  void reset() noexcept {
    if (chunks_.size() > 1) {
      for (const DeviceBuffer& chunk : chunks_) chunk_bytes_ = std::max(chunk_bytes_, chunk.bytes());
      uint64_t all = 0;
      for (const DeviceBuffer& chunk : chunks_) all += chunk.bytes();
      chunk_bytes_ = std::max(chunk_bytes_, all);
      chunks_.clear();
    }
    rewind(0);
  }
  uint64_t place() const noexcept { return uint64_t{chunk_} << 44U | used_; }
  void rewind(uint64_t place) noexcept {
    chunk_ = static_cast<size_t>(place >> 44U);
    used_ = place & ((uint64_t{1} << 44U) - 1);
  }
  Result<uint8_t*> take(uint64_t bytes) {
    bytes = align_up(std::max<uint64_t>(bytes, 1));
    for (; chunk_ < chunks_.size(); ++chunk_, used_ = 0) {
      if (chunks_[chunk_].bytes() - used_ < bytes) continue;
      uint8_t* at = chunks_[chunk_].data() + used_;
      used_ += bytes;
      return at;
    }
    chunks_.push_back(KVASIR_TRY(DeviceBuffer::create(device_, DeviceBuffer::Kind::kDevice, std::max(bytes, chunk_bytes_))));
    used_ = bytes;
    return chunks_.back().data();
  }
  uint64_t bytes() const noexcept {
    uint64_t all = 0;
    for (const DeviceBuffer& chunk : chunks_) all += chunk.bytes();
    return all;
  }

 private:
  Device& device_;
  uint64_t chunk_bytes_;
  std::vector<DeviceBuffer> chunks_;
  size_t chunk_ = 0;
  uint64_t used_ = 0;
};

class Mirror {
 public:
  struct Place {
    uint8_t* host = nullptr;
    uint8_t* device = nullptr;
  };
  struct Chunk {
    DeviceBuffer host, device;
    uint64_t used = 0;
  };
  Mirror(Device& device, uint64_t chunk_bytes) : device_(device), chunk_bytes_(chunk_bytes) {}
  void reset() noexcept {
    if (chunks_.size() > 1) {
      uint64_t all = 0;
      for (const Chunk& chunk : chunks_) all += chunk.host.bytes();
      chunk_bytes_ = std::max(chunk_bytes_, all);
      chunks_.clear();
    }
    for (Chunk& chunk : chunks_) chunk.used = 0;
  }
  Result<Place> take(uint64_t bytes) {
    bytes = align_up(std::max<uint64_t>(bytes, 1));
    if (chunks_.empty() || chunks_.back().host.bytes() - chunks_.back().used < bytes) {
      const uint64_t size = std::max(bytes, chunk_bytes_);
      Chunk chunk;
      chunk.host = KVASIR_TRY(DeviceBuffer::create(device_, DeviceBuffer::Kind::kPinned, size));
      chunk.device = KVASIR_TRY(DeviceBuffer::create(device_, DeviceBuffer::Kind::kDevice, size));
      chunks_.push_back(std::move(chunk));
    }
    Chunk& chunk = chunks_.back();
    const Place place{chunk.host.data() + chunk.used, chunk.device.data() + chunk.used};
    chunk.used += bytes;
    return place;
  }
  const std::vector<Chunk>& chunks() const noexcept { return chunks_; }

 private:
  Device& device_;
  uint64_t chunk_bytes_;
  std::vector<Chunk> chunks_;
};

}  // namespace kvasir::cuda
