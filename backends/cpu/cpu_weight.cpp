#include "backends/cpu/cpu_weight.h"

#include <algorithm>
#include <mutex>
#include <optional>
#include <vector>

#include "backends/cpu/format.h"
#include "backends/cpu/pack.h"
#include "core/base/bytes.h"

namespace kvasir::cpu {
namespace {

/// Sizes of a tensor, checked against overflow and block geometry.
struct Geometry {
  uint64_t row_bytes = 0, panels = 0, panel_bytes = 0, file_bytes = 0, packed_bytes = 0;
};

Failure bad_shape(const HostTensor& tensor, const char* what) {
  return {Code::kCorrupt, "tensor " + tensor.name + ": " + what};
}

Result<Geometry> measure(const HostTensor& tensor, Format format) {
  const FormatInfo& info = format_info(format);
  if (tensor.rows == 0 || tensor.cols == 0 || tensor.experts == 0) return bad_shape(tensor, "a dimension is zero");
  if (tensor.cols % info.block_values != 0) return bad_shape(tensor, "row length is no multiple of its type's block");
  constexpr uint64_t kMaxSide = uint64_t{1} << 31;  // kernels count rows and columns in 32 bits
  if (tensor.rows >= kMaxSide || tensor.cols >= kMaxSide) return Failure{Code::kTooLarge, "tensor " + tensor.name + " is too large"};
  Geometry g;
  g.row_bytes = tensor.cols / info.block_values * info.file_block_bytes;
  g.panels = (tensor.rows + kPanelRows - 1) / kPanelRows;
  g.panel_bytes = panel_bytes(format, tensor.cols);
  const auto rows = checked_mul(tensor.rows, tensor.experts);
  const auto panels = checked_mul(g.panels, tensor.experts);
  const auto file_bytes = rows ? checked_mul(*rows, g.row_bytes) : std::nullopt;
  const auto packed = panels ? checked_mul(*panels, g.panel_bytes) : std::nullopt;
  if (!file_bytes || !packed || !checked_add(tensor.offset, *file_bytes)) {
    return Failure{Code::kTooLarge, "tensor " + tensor.name + " is too large"};
  }
  g.file_bytes = *file_bytes;
  g.packed_bytes = *packed;
  return g;
}

/// The first error of several threads.
class FirstError {
 public:
  void set(Error error) {
    const std::scoped_lock lock(mutex_);
    if (!error_) error_ = std::move(error);
  }
  Result<void> take() {
    if (error_) return Failure(*std::move(error_));
    return {};
  }

 private:
  std::mutex mutex_;
  std::optional<Error> error_;
};

constexpr uint64_t kReadBytes = uint64_t{1} << 20;

/// Reads panels [begin, end) of all experts, packs each to `to(panel index)`.
template <class Place>
Result<void> pack_range(const HostTensor& tensor, const Geometry& g, uint64_t begin, uint64_t end, Place&& place) {
  const uint64_t panel_file_bytes = g.row_bytes * kPanelRows;
  const uint64_t together = std::max<uint64_t>(1, kReadBytes / panel_file_bytes);
  std::vector<std::byte> rows(static_cast<size_t>(together * panel_file_bytes));
  for (uint64_t p = begin; p < end;) {
    const uint64_t expert = p / g.panels;
    const uint64_t in_expert = p % g.panels;
    const uint64_t count = std::min({together, end - p, g.panels - in_expert});
    const uint64_t first_row = in_expert * kPanelRows;
    const uint64_t row_count = std::min(count * kPanelRows, tensor.rows - first_row);
    const std::span<std::byte> into(rows.data(), static_cast<size_t>(row_count * g.row_bytes));
    KVASIR_TRY(tensor.source->read(tensor.offset + (expert * tensor.rows + first_row) * g.row_bytes, into));
    for (uint64_t i = 0; i < count; ++i) {
      const auto here = static_cast<uint32_t>(std::min<uint64_t>(kPanelRows, row_count - i * kPanelRows));
      place(p + i, rows.data() + i * panel_file_bytes, here);
    }
    p += count;
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<CpuWeight>> CpuWeight::create(const HostTensor& tensor, WeightUse use, const KernelTable& kernels,
                                                     Team& team, WeightMemory& memory, PackedCache* cache) {
  const auto format = format_of(tensor.type);
  if (!format) {
    const TensorTypeInfo* info = tensor_type_info(tensor.type);
    return Failure{Code::kUnsupported, "tensor " + tensor.name + ": the CPU backend has no kernels for type " +
                                           (info != nullptr ? std::string(info->name) : "unknown")};
  }
  if (tensor.source == nullptr) return Failure{Code::kInternal, "tensor " + tensor.name + " has no source"};
  const Geometry g = KVASIR_TRY(measure(tensor, *format));
  std::unique_ptr<CpuWeight> out(new CpuWeight);
  out->type_ = tensor.type;
  out->format_ = *format;
  out->vector_ = use == WeightUse::kVector;
  out->rows_ = tensor.rows;
  out->cols_ = tensor.cols;
  out->experts_ = tensor.experts;
  out->panel_bytes_ = g.panel_bytes;
  const uint64_t values = tensor.experts * tensor.rows * tensor.cols;
  const uint64_t bytes = out->vector_ ? values * sizeof(float) : g.packed_bytes;
  if (auto kept = cache ? cache->find(tensor, use, bytes) : std::nullopt) {
    out->block_ = *std::move(kept);
    return out;
  }
  out->block_ = KVASIR_TRY(memory.take(bytes));

  FirstError error;
  const uint64_t panels = g.panels * tensor.experts;
  uint8_t* data = out->block_.data;
  auto body = [&](const Worker& worker) {
    std::vector<uint8_t> one_panel(out->vector_ ? static_cast<size_t>(g.panel_bytes) : 0);
    auto place = [&](uint64_t index, const std::byte* file_rows, uint32_t rows) {
      if (!out->vector_) return pack_panel(*format, file_rows, rows, tensor.cols, data + index * g.panel_bytes);
      pack_panel(*format, file_rows, rows, tensor.cols, one_panel.data());
      const uint64_t first = index / g.panels * tensor.rows + index % g.panels * kPanelRows;
      float* values_out = reinterpret_cast<float*>(data) + first * tensor.cols;
      for (uint32_t r = 0; r < rows; ++r) {
        float* row = values_out + r * tensor.cols;
        kernels.decode_row(*format, one_panel.data(), r, static_cast<uint32_t>(tensor.cols), row);
        for (uint64_t i = 0; i < tensor.cols && tensor.add != 0.0F; ++i) row[i] += tensor.add;
      }
    };
    auto packed = pack_range(tensor, g, worker.begin(panels), worker.end(panels), place);
    if (!packed) error.set(packed.error());
  };
  team.run(body);
  KVASIR_TRY(error.take());
  if (cache) cache->packed(tensor, use, out->block_);
  return out;
}

}  // namespace kvasir::cpu
