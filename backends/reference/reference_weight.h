// A tensor as the reference backend holds it: matrices and tables keep their file bytes and are decoded row by row when
// used (the simplest thing that cannot be wrong); vectors are f32. Immutable, thread-safe.
#pragma once

#include <cstddef>
#include <vector>

#include "backends/backend.h"
#include "backends/reference/dequantise.h"

namespace kvasir::reference {

class ReferenceWeight final : public Weight {
 public:
  ReferenceWeight(const HostTensor& tensor, size_t row_bytes, std::vector<std::byte> bytes, std::vector<float> vector)
      : type_(tensor.type), rows_(tensor.rows), cols_(tensor.cols), experts_(tensor.experts), row_bytes_(row_bytes),
        bytes_(std::move(bytes)), vector_(std::move(vector)) {}

  TensorType type() const noexcept override { return type_; }
  uint64_t rows() const noexcept override { return rows_; }
  uint64_t cols() const noexcept override { return cols_; }
  uint64_t experts() const noexcept override { return experts_; }
  uint64_t bytes() const noexcept override { return bytes_.size() + vector_.size() * sizeof(float); }

  /// All values of a kVector weight, rows one after another.
  const std::vector<float>& vector() const noexcept { return vector_; }
  uint64_t values() const noexcept { return experts_ * rows_ * cols_; }
  /// Decodes row `row` of expert `expert` into `into` (cols() values).
  void decode_row(uint64_t expert, uint64_t row, float* into) const noexcept {
    const size_t index = static_cast<size_t>(expert * rows_ + row);
    if (!vector_.empty()) {
      for (size_t i = 0; i < cols_; ++i) into[i] = vector_[index * cols_ + i];
      return;
    }
    dequantise(type_, std::span(bytes_).subspan(index * row_bytes_, row_bytes_), {into, static_cast<size_t>(cols_)});
  }

 private:
  TensorType type_;
  uint64_t rows_, cols_, experts_;
  size_t row_bytes_;
  std::vector<std::byte> bytes_;
  std::vector<float> vector_;
};

/// Every Weight given to a reference stream was made by the reference backend.
inline const ReferenceWeight& as_reference(const Weight& weight) noexcept {
  return static_cast<const ReferenceWeight&>(weight);
}

}  // namespace kvasir::reference
