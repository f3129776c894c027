// Byte sources that put tensors of safetensors files into the shape that GGUF would hold, without a second copy on
// disk: concatenated pieces, 8-bit floats expanded while reading, and small rearranged tensors made in memory at first
// use. Thread-safe; the sources they read from must outlive them.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "backends/backend.h"

namespace kvasir {

/// Pieces of other sources, one after the other.
class SegmentSource final : public ByteSource {
 public:
  struct Segment {
    const ByteSource* source;
    uint64_t offset;
    uint64_t bytes;
  };
  explicit SegmentSource(std::vector<Segment> segments);
  Result<void> read(uint64_t offset, std::span<std::byte> into) const override;

 private:
  std::vector<Segment> segments_;
  std::vector<uint64_t> begins_;
};

/// Bytes made by a function when they are first read; kept until the source goes.
class MadeSource final : public ByteSource {
 public:
  using Make = std::function<Result<std::vector<std::byte>>()>;
  MadeSource(uint64_t bytes, Make make) : bytes_(bytes), make_(std::move(make)) {}
  Result<void> read(uint64_t offset, std::span<std::byte> into) const override;

 private:
  uint64_t bytes_;
  Make make_;
  mutable std::mutex mutex_;
  mutable std::vector<std::byte> made_;  // guarded by mutex_ until ready_
  mutable bool ready_ = false;
};

/// FP8 E4M3 values times a scale per 128 x 128 block (or one for all), as f32. OCP 8-bit floating point, E4M3.
class Fp8Source final : public ByteSource {
 public:
  struct Scales {
    std::vector<float> values;  ///< row-major blocks
    uint64_t block_rows = 0, block_cols = 0;
  };
  Fp8Source(const ByteSource& source, uint64_t offset, uint64_t rows, uint64_t cols, Scales scales);
  Result<void> read(uint64_t offset, std::span<std::byte> into) const override;

 private:
  const ByteSource& source_;
  uint64_t offset_, rows_, cols_, blocks_per_row_;
  Scales scales_;
};

}  // namespace kvasir
