// A tensor in device memory: matrices in T16 tiles where a layout exists (stored_type.h), else as the file's blocks;
// vectors as f32. WeightStore gives out parts of large allocations, uploads through pinned memory and repacks on the
// device. Immutable after upload. Engine thread only while uploading.
#pragma once

#include <memory>

#include "backends/backend.h"
#include "backends/cuda/device.h"
#include "backends/cuda/kernels/stored_type.h"

namespace kvasir::cuda {

class CudaWeight final : public Weight {
 public:
  TensorType type() const noexcept override { return type_; }
  uint64_t rows() const noexcept override { return rows_; }
  uint64_t cols() const noexcept override { return cols_; }
  uint64_t experts() const noexcept override { return experts_; }
  uint64_t bytes() const noexcept override { return bytes_; }

  bool is_vector() const noexcept { return vector_; }
  /// Of a matrix.
  const WeightView& view() const noexcept { return view_; }
  /// Of a vector: all values, rows one after another.
  const float* values() const noexcept { return reinterpret_cast<const float*>(data_); }
  uint64_t value_count() const noexcept { return experts_ * rows_ * cols_; }
  /// Another one for every weight of a store, also of those that are gone.
  uint64_t serial() const noexcept { return serial_; }

 private:
  friend class WeightStore;
  TensorType type_ = TensorType::kF32;
  bool vector_ = false;
  uint64_t rows_ = 0, cols_ = 0, experts_ = 0, bytes_ = 0, serial_ = 0;
  uint8_t* data_ = nullptr;
  WeightView view_{};
  std::shared_ptr<DeviceBuffer> memory_;  ///< shared with the weights that lie in the same allocation
};

inline const CudaWeight& cuda_weight(const Weight& weight) noexcept { return static_cast<const CudaWeight&>(weight); }

/// How a file's type is held for `use`. Errors: kUnsupported (a type without a decoder).
Result<Stored> stored_type_for(TensorType type, WeightUse use);
/// Bytes that a tensor takes on the device. Errors: kCorrupt (shape), kTooLarge, kUnsupported.
Result<uint64_t> device_bytes_of(const HostTensor& tensor, WeightUse use);

class WeightStore {
 public:
  /// `slab_bytes`: size of the allocations that weights share; 0: each has its own.
  WeightStore(Device& device, uint64_t slab_bytes) : device_(device), slab_bytes_(slab_bytes) {}
  /// Errors as Backend::upload.
  Result<std::unique_ptr<Weight>> upload(const HostTensor& tensor, WeightUse use);
  /// Frees what uploading needed; the next upload takes it again.
  void release_staging() noexcept { pinned_ = {}, staging_ = {}; }

 private:
  Result<void> place(CudaWeight& weight);
  Result<void> fill_vector(const HostTensor& tensor, CudaWeight& weight);
  Result<void> fill_matrix(const HostTensor& tensor, CudaWeight& weight, uint64_t raw_row_bytes);
  Result<const uint16_t*> codebooks();

  Device& device_;
  uint64_t slab_bytes_;
  std::shared_ptr<DeviceBuffer> slab_;
  uint64_t slab_used_ = 0, uploads_ = 0;
  DeviceBuffer pinned_, staging_, codebooks_;
};

}  // namespace kvasir::cuda
