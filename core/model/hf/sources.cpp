#include "core/model/hf/sources.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace kvasir {
namespace {

float decode_e4m3(unsigned code) {
  const unsigned exponent = (code >> 3) & 15, mantissa = code & 7;
  if (exponent == 15 && mantissa == 7) return std::nanf("");
  const float magnitude = exponent == 0
                              ? std::ldexp(static_cast<float>(mantissa), -9)
                              : std::ldexp(1.0F + static_cast<float>(mantissa) / 8.0F, static_cast<int>(exponent) - 7);
  return (code & 128) != 0 ? -magnitude : magnitude;
}

const std::array<float, 256>& e4m3_table() {
  static const std::array<float, 256> table = [] {
    std::array<float, 256> out{};
    for (unsigned i = 0; i < out.size(); ++i) out[i] = decode_e4m3(i);
    return out;
  }();
  return table;
}

Failure past_end() {
  return Failure(Code::kInternal, "a tensor was read past its end");
}

}  // namespace

SegmentSource::SegmentSource(std::vector<Segment> segments) : segments_(std::move(segments)) {
  uint64_t at = 0;
  begins_.reserve(segments_.size());
  for (const auto& segment : segments_) {
    begins_.push_back(at);
    at += segment.bytes;
  }
}

Result<void> SegmentSource::read(uint64_t offset, std::span<std::byte> into) const {
  auto next = std::upper_bound(begins_.begin(), begins_.end(), offset);
  auto index = static_cast<size_t>(next - begins_.begin());
  if (index == 0) return past_end();
  --index;
  while (!into.empty()) {
    if (index >= segments_.size()) return past_end();
    const Segment& segment = segments_[index];
    const uint64_t skip = offset - begins_[index];
    if (skip > segment.bytes) return past_end();
    const auto take = static_cast<size_t>(std::min<uint64_t>(segment.bytes - skip, into.size()));
    KVASIR_TRY(segment.source->read(segment.offset + skip, into.first(take)));
    into = into.subspan(take);
    offset += take;
    ++index;
  }
  return {};
}

Result<void> MadeSource::read(uint64_t offset, std::span<std::byte> into) const {
  {
    const std::lock_guard lock(mutex_);
    if (!ready_) {
      made_ = KVASIR_TRY(make_());
      if (made_.size() != bytes_) return Failure(Code::kInternal, "a rearranged tensor has another size than planned");
      ready_ = true;
    }
  }
  if (offset > made_.size() || into.size() > made_.size() - offset) return past_end();
  std::memcpy(into.data(), made_.data() + offset, into.size());
  return {};
}

Fp8Source::Fp8Source(const ByteSource& source, uint64_t offset, uint64_t rows, uint64_t cols, Scales scales)
    : source_(source),
      offset_(offset),
      rows_(rows),
      cols_(cols),
      blocks_per_row_((cols + scales.block_cols - 1) / scales.block_cols),
      scales_(std::move(scales)) {}

Result<void> Fp8Source::read(uint64_t offset, std::span<std::byte> into) const {
  if (offset % sizeof(float) != 0 || into.size() % sizeof(float) != 0)
    return Failure(Code::kInternal, "unaligned read of an FP8 tensor");
  uint64_t value = offset / sizeof(float);
  const uint64_t count = into.size() / sizeof(float);
  if (value > rows_ * cols_ || count > rows_ * cols_ - value) return past_end();
  std::vector<std::byte> codes(count);
  KVASIR_TRY(source_.read(offset_ + value, codes));
  const auto& table = e4m3_table();
  for (uint64_t i = 0; i < count; ++i, ++value) {
    const uint64_t block = value / cols_ / scales_.block_rows * blocks_per_row_ + value % cols_ / scales_.block_cols;
    const float decoded = table[std::to_integer<unsigned>(codes[i])] * scales_.values[block];
    std::memcpy(into.data() + i * sizeof(float), &decoded, sizeof(float));
  }
  return {};
}

}  // namespace kvasir
