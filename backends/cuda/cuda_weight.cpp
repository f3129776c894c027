#include "backends/cuda/cuda_weight.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "backends/cuda/kernels/args.h"
#include "backends/cuda/step_memory.h"
#include "backends/iq_tables.h"
#include "backends/reference/dequantise.h"
#include "core/base/bytes.h"

namespace kvasir::cuda {
namespace {

constexpr uint64_t kStagingBytes = uint64_t{16} << 20;
constexpr uint32_t kThreads = 128;

Failure bad(const HostTensor& tensor, Code code, const char* what) { return {code, "tensor " + tensor.name + ": " + what}; }

struct Geometry {
  uint64_t raw_row_bytes = 0, row_bytes = 0, expert_bytes = 0, bytes = 0;
};

Result<Geometry> measure(const HostTensor& tensor, WeightUse use, Stored stored) {
  const TensorTypeInfo* info = tensor_type_info(tensor.type);
  if (tensor.rows == 0 || tensor.cols == 0 || tensor.experts == 0) return bad(tensor, Code::kCorrupt, "a dimension is zero");
  if (tensor.cols % info->block_values != 0) return bad(tensor, Code::kCorrupt, "row length is no multiple of its type's block");
  constexpr uint64_t kMaxSide = uint64_t{1} << 31;  // kernels count in 32 bits
  if (tensor.rows >= kMaxSide || tensor.cols >= kMaxSide || tensor.experts >= kMaxSide) return bad(tensor, Code::kTooLarge, "too large");
  Geometry g;
  g.raw_row_bytes = tensor.cols / info->block_values * info->block_bytes;
  const bool vector = use == WeightUse::kVector;
  g.row_bytes = vector ? tensor.cols * sizeof(float) : is_t16(stored) ? tile_bytes(stored, tensor.cols) : g.raw_row_bytes;
  const uint64_t units = !vector && is_t16(stored) ? (tensor.rows + kTileRows - 1) / kTileRows : tensor.rows;
  const auto expert = checked_mul(units, g.row_bytes);
  const auto all = expert ? checked_mul(*expert, tensor.experts) : std::nullopt;
  const auto raw = checked_mul(g.raw_row_bytes, tensor.rows);
  const auto file = raw ? checked_mul(*raw, tensor.experts) : std::nullopt;
  if (!all || !file || !checked_add(tensor.offset, *file)) return bad(tensor, Code::kTooLarge, "too large");
  g.expert_bytes = *expert;
  g.bytes = *all;
  return g;
}

}  // namespace

Result<Stored> stored_type_for(TensorType type, WeightUse use) {
  if (tensor_type_info(type) == nullptr) return Failure{Code::kUnsupported, "the CUDA backend has no kernels for this type"};
  const bool tiled = use == WeightUse::kMatrix || use == WeightUse::kTableAndMatrix;
  if (tiled) {
    switch (type) {
      case TensorType::kQ4_0: return Stored::kT16Q4_0;
      case TensorType::kQ4_1: return Stored::kT16Q4_1;
      case TensorType::kQ5_0:
      case TensorType::kQ8_0: return Stored::kT16Q8_0;
      case TensorType::kQ4_K: return Stored::kT16Q4_K;
      case TensorType::kQ5_K: return Stored::kT16Q5_K;
      case TensorType::kQ6_K: return Stored::kT16Q6_K;
      default: break;
    }
  }
  return static_cast<Stored>(type);
}

Result<uint64_t> device_bytes_of(const HostTensor& tensor, WeightUse use) {
  const Stored stored = KVASIR_TRY(stored_type_for(tensor.type, use));
  return align_up(KVASIR_TRY(measure(tensor, use, stored)).bytes);
}

Result<const uint16_t*> WeightStore::codebooks() {
  if (codebooks_.data() == nullptr) {
    std::vector<uint16_t> all(Codebooks::kEnd);
    const auto put = [&](uint32_t at, const auto& grid) { std::ranges::copy(grid, all.begin() + at); };
    put(Codebooks::kIq2xxs, iq::kIq2xxsGrid);
    put(Codebooks::kIq2xs, iq::kIq2xsGrid);
    put(Codebooks::kIq2s, iq::kIq2sGrid);
    put(Codebooks::kIq3xxs, iq::kIq3xxsGrid);
    put(Codebooks::kIq3s, iq::kIq3sGrid);
    put(Codebooks::kIq1, iq::kIq1Grid);
    auto buffer = KVASIR_TRY(DeviceBuffer::create(device_, DeviceBuffer::Kind::kDevice, all.size() * 2));
    KVASIR_TRY(device_.copy_in(buffer.data(), all.data(), all.size() * 2));
    KVASIR_TRY(device_.synchronize());
    codebooks_ = std::move(buffer);
  }
  return reinterpret_cast<const uint16_t*>(codebooks_.data());
}

Result<void> WeightStore::place(CudaWeight& weight) {
  const uint64_t bytes = align_up(weight.bytes_);
  if (slab_ == nullptr || slab_->bytes() - slab_used_ < bytes) {
    const uint64_t size = slab_bytes_ == 0 ? weight.bytes_ : std::max(bytes, slab_bytes_);
    slab_ = std::make_shared<DeviceBuffer>(KVASIR_TRY(DeviceBuffer::create(device_, DeviceBuffer::Kind::kDevice, size)));
    slab_used_ = 0;
  }
  weight.memory_ = slab_;
  weight.data_ = slab_->data() + slab_used_;
  slab_used_ += bytes;
  if (slab_bytes_ == 0) slab_.reset();
  return {};
}

Result<void> WeightStore::fill_vector(const HostTensor& tensor, CudaWeight& weight) {
  const TensorTypeInfo* info = tensor_type_info(tensor.type);
  std::vector<float> values(weight.value_count());
  std::vector<std::byte> raw(values.size() / info->block_values * info->block_bytes);
  KVASIR_TRY(tensor.source->read(tensor.offset, raw));
  dequantise(tensor.type, raw, values);
  if (tensor.add != 0.0F) {
    for (float& v : values) v += tensor.add;
  }
  KVASIR_TRY(device_.copy_in(weight.data_, values.data(), values.size() * sizeof(float)));
  return device_.synchronize();
}

Result<void> WeightStore::fill_matrix(const HostTensor& tensor, CudaWeight& weight, uint64_t raw_row_bytes) {
  const WeightView& view = weight.view_;
  const bool tiled = is_t16(view.type);
  const uint64_t unit_rows = tiled ? kTileRows : 1;
  const uint64_t together = std::max<uint64_t>(1, kStagingBytes / (raw_row_bytes * unit_rows)) * unit_rows;
  const uint64_t needed = std::min(together, tensor.rows) * raw_row_bytes;
  if (pinned_.bytes() < needed) pinned_ = KVASIR_TRY(DeviceBuffer::create(device_, DeviceBuffer::Kind::kPinned, std::max(needed, kStagingBytes)));
  if (tiled && staging_.bytes() < needed) {
    staging_ = KVASIR_TRY(DeviceBuffer::create(device_, DeviceBuffer::Kind::kDevice, std::max(needed, kStagingBytes)));
  }
  if (tiled) KVASIR_TRY(device_.clear(weight.data_, weight.bytes_));  // rows that fill the last tile
  for (uint64_t expert = 0; expert < tensor.experts; ++expert) {
    for (uint64_t first = 0; first < tensor.rows; first += together) {
      const uint64_t rows = std::min(together, tensor.rows - first), bytes = rows * raw_row_bytes;
      KVASIR_TRY(tensor.source->read(tensor.offset + (expert * tensor.rows + first) * raw_row_bytes, {reinterpret_cast<std::byte*>(pinned_.data()), bytes}));
      uint8_t* to = weight.data_ + expert * view.expert_bytes + first / unit_rows * view.row_bytes;
      KVASIR_TRY(device_.copy_in(tiled ? staging_.data() : to, pinned_.data(), bytes));
      if (tiled) {
        RepackArgs args{};
        args.from = staging_.data();
        args.to = to;
        args.raw_row_bytes = raw_row_bytes;
        args.tile_bytes = view.row_bytes;
        args.raw = static_cast<Stored>(tensor.type);
        args.stored = view.type;
        args.rows = static_cast<uint32_t>(rows);
        args.cols = view.cols;
        const uint32_t items = (view.cols + 255) / 256 * kTileRows;
        const Grid grid{(items + kThreads - 1) / kThreads, static_cast<uint32_t>((rows + kTileRows - 1) / kTileRows), 1};
        KVASIR_TRY(device_.launch({KernelId::kRepack, grid, kThreads, 0, false, &args}));
      }
      KVASIR_TRY(device_.synchronize());  // the pinned bytes are used again
    }
  }
  return {};
}

Result<std::unique_ptr<Weight>> WeightStore::upload(const HostTensor& tensor, WeightUse use) {
  if (tensor.source == nullptr) return bad(tensor, Code::kInternal, "no source");
  const auto stored = stored_type_for(tensor.type, use);
  if (!stored) return Failure{stored.error().code, "tensor " + tensor.name + ": " + stored.error().message};
  const Geometry g = KVASIR_TRY(measure(tensor, use, *stored));
  auto weight = std::make_unique<CudaWeight>();
  weight->type_ = tensor.type;
  weight->vector_ = use == WeightUse::kVector;
  weight->rows_ = tensor.rows;
  weight->cols_ = tensor.cols;
  weight->experts_ = tensor.experts;
  weight->bytes_ = g.bytes;
  weight->serial_ = uploads_++;
  KVASIR_TRY(place(*weight));
  if (weight->vector_) {
    KVASIR_TRY(fill_vector(tensor, *weight));
  } else {
    weight->view_ = {weight->data_, KVASIR_TRY(codebooks()), g.expert_bytes, g.row_bytes, *stored, static_cast<uint32_t>(tensor.rows), static_cast<uint32_t>(tensor.cols), 0};
    KVASIR_TRY(fill_matrix(tensor, *weight, g.raw_row_bytes));
  }
  return std::unique_ptr<Weight>(std::move(weight));
}

}  // namespace kvasir::cuda
