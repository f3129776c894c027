// A tensor in the CPU backend's layout: panels of 16 rows (matrices, tables) or plain f32 (vectors). Immutable after
// upload; read from all threads.
#pragma once

#include "backends/backend.h"
#include "backends/cpu/kernel_table.h"
#include "backends/cpu/packed_cache.h"
#include "backends/cpu/parallel.h"
#include "backends/cpu/weight_memory.h"

namespace kvasir::cpu {

class CpuWeight final : public Weight {
 public:
  /// Reads and packs with all threads of `team`, or takes what `cache` (if any) has. Errors as Backend::upload.
  static Result<std::unique_ptr<CpuWeight>> create(const HostTensor& tensor, WeightUse use, const KernelTable& kernels,
                                                   Team& team, WeightMemory& memory, PackedCache* cache = nullptr);

  TensorType type() const noexcept override { return type_; }
  uint64_t rows() const noexcept override { return rows_; }
  uint64_t cols() const noexcept override { return cols_; }
  uint64_t experts() const noexcept override { return experts_; }
  uint64_t bytes() const noexcept override { return block_.bytes; }

  bool is_vector() const noexcept { return vector_; }
  Format format() const noexcept { return format_; }
  uint64_t panel_bytes() const noexcept { return panel_bytes_; }
  uint64_t panels() const noexcept { return (rows_ + kPanelRows - 1) / kPanelRows; }
  const uint8_t* panel(uint64_t expert, uint64_t index) const noexcept {
    return block_.data + (expert * panels() + index) * panel_bytes_;
  }
  /// The values of a vector weight, `expert`'s.
  const float* values(uint64_t expert = 0) const noexcept {
    return reinterpret_cast<const float*>(block_.data) + expert * rows_ * cols_;
  }

 private:
  CpuWeight() = default;

  TensorType type_ = TensorType::kF32;
  Format format_ = Format::kF32;
  bool vector_ = false;
  uint64_t rows_ = 0, cols_ = 0, experts_ = 0, panel_bytes_ = 0;
  WeightBlock block_;
};

}  // namespace kvasir::cpu
