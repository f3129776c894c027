#include "core/model/hf/tensor_builder.h"

#include <cstring>

#include "backends/reference/dequantise.h"
#include "core/base/bytes.h"

namespace kvasir {
namespace {

Result<TensorType> plain_type(const SafeTensor& tensor) {
  switch (tensor.type) {
    case SafeType::kF32:
      return TensorType::kF32;
    case SafeType::kF16:
      return TensorType::kF16;
    case SafeType::kBF16:
      return TensorType::kBF16;
    default:
      return Failure(Code::kUnsupported, "tensor " + printable(tensor.name) + " is " + tensor.type_name +
                                             "; F32, F16, BF16 and F8_E4M3 with scales are supported");
  }
}

uint64_t element_bytes(TensorType type) {
  return tensor_type_info(type)->block_bytes;
}

std::vector<uint64_t> reversed(const std::vector<uint64_t>& shape) {
  return {shape.rbegin(), shape.rend()};
}

}  // namespace

Result<std::vector<float>> read_f32(const SafeTensor& tensor) {
  const TensorType type = KVASIR_TRY(plain_type(tensor));
  std::vector<std::byte> bytes(tensor.bytes);
  KVASIR_TRY(tensor.source->read(tensor.offset, bytes));
  std::vector<float> values(tensor.values());
  dequantise(type, bytes, values);
  return values;
}

TensorBuilder::TensorBuilder(const std::vector<SafeTensor>& all) {
  for (const auto& tensor : all) index_by_hf_.emplace(tensor.name, &tensor);
}

const SafeTensor* TensorBuilder::take(const std::string& name) {
  const auto found = index_by_hf_.find(name);
  if (found == index_by_hf_.end()) return nullptr;
  used_[name] = true;
  return found->second;
}

Result<const SafeTensor*> TensorBuilder::require(const std::string& name) {
  const SafeTensor* tensor = take(name);
  if (tensor == nullptr) return Failure(Code::kCorrupt, "tensor " + name + " is missing from the folder's safetensors");
  return tensor;
}

std::vector<std::string> TensorBuilder::unused() const {
  std::vector<std::string> out;
  for (const auto& [name, tensor] : index_by_hf_) {
    if (!used_.contains(name)) out.push_back(name);
  }
  return out;
}

Result<FileTensor> TensorBuilder::start(const std::string& name, std::vector<uint64_t> dims, TensorType type) {
  while (dims.size() > 4 && dims.back() == 1) dims.pop_back();
  if (dims.size() > 4) return Failure(Code::kUnsupported, "tensor " + name + " has more than 4 dimensions");
  FileTensor out;
  out.name = name;
  out.type = type;
  out.dimensions = static_cast<uint32_t>(std::max<size_t>(dims.size(), 1));
  uint64_t values = 1;
  for (size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] == 0) return Failure(Code::kCorrupt, "tensor " + name + " has an empty dimension");
    const auto product = checked_mul(values, dims[i]);
    if (!product) return Failure(Code::kCorrupt, "the size of tensor " + name + " overflows");
    out.dims[i] = dims[i];
    values = *product;
  }
  const TensorTypeInfo* info = tensor_type_info(type);
  if (out.dims[0] % info->block_values != 0)
    return Failure(Code::kCorrupt, "a row of tensor " + name + " holds no whole blocks");
  const auto bytes = checked_mul<uint64_t>(values / info->block_values, info->block_bytes);
  if (!bytes) return Failure(Code::kCorrupt, "the size of tensor " + name + " overflows");
  out.bytes = *bytes;
  return out;
}

Result<void> TensorBuilder::finish(FileTensor tensor) {
  if (!index_.emplace(tensor.name, tensors.size()).second)
    return Failure(Code::kCorrupt, "tensor " + tensor.name + " is there twice");
  tensors.push_back(std::move(tensor));
  return {};
}

Result<void> TensorBuilder::add(const std::string& name, const SafeTensor& tensor) {
  return add_shaped(name, tensor, reversed(tensor.shape));
}

Result<void> TensorBuilder::add_from(const std::string& name, const std::string& hf) {
  const SafeTensor* tensor = KVASIR_TRY(require(hf));
  return add(name, *tensor);
}

Result<void> TensorBuilder::add_rows_from(const std::string& name, const std::string& hf,
                                          const std::vector<RowRange>& rows, std::vector<uint64_t> dims) {
  const SafeTensor* tensor = KVASIR_TRY(require(hf));
  return add_rows(name, *tensor, rows, std::move(dims));
}

Result<void> TensorBuilder::add_shaped(const std::string& name, const SafeTensor& tensor, std::vector<uint64_t> dims) {
  if (tensor.type == SafeType::kF8E4M3) {
    const SafeTensor* scales = take(tensor.name + "_scale_inv");
    if (scales == nullptr) scales = take(tensor.name + "_scale");
    if (scales == nullptr || tensor.shape.size() != 2) {
      return Failure(Code::kUnsupported,
                     "tensor " + printable(tensor.name) + " is F8_E4M3 without the scales that make sense of it");
    }
    FileTensor out = KVASIR_TRY(start(name, std::move(dims), TensorType::kF32));
    if (out.values() != tensor.values())
      return Failure(Code::kCorrupt,
                     "tensor " + printable(tensor.name) + " has another size than the configuration says");
    Fp8Source::Scales s;
    s.values = KVASIR_TRY(read_f32(*scales));
    const uint64_t rows = tensor.shape[0], cols = tensor.shape[1];
    const bool blocks = scales->shape.size() == 2 && s.values.size() > 1;
    s.block_rows = blocks ? (rows + scales->shape[0] - 1) / scales->shape[0] : rows;
    s.block_cols = blocks ? (cols + scales->shape[1] - 1) / scales->shape[1] : cols;
    if (s.values.empty() || s.block_rows == 0 || s.block_cols == 0)
      return Failure(Code::kCorrupt, "the scales of " + printable(tensor.name) + " are empty");
    // Blocks are 128 wide in every published file; a partial last block must not change the others' size.
    if (blocks && (rows > 128 || cols > 128)) s.block_rows = s.block_cols = 128;
    const uint64_t needed = ((rows + s.block_rows - 1) / s.block_rows) * ((cols + s.block_cols - 1) / s.block_cols);
    if (s.values.size() != needed)
      return Failure(Code::kCorrupt, "the scales of " + printable(tensor.name) + " have another shape than its blocks");
    sources.push_back(std::make_unique<Fp8Source>(*tensor.source, tensor.offset, rows, cols, std::move(s)));
    out.source = sources.back().get();
    return finish(std::move(out));
  }
  const TensorType type = KVASIR_TRY(plain_type(tensor));
  FileTensor out = KVASIR_TRY(start(name, std::move(dims), type));
  if (out.values() != tensor.values())
    return Failure(Code::kCorrupt,
                   "tensor " + printable(tensor.name) + " has another size than the configuration says");
  out.source = tensor.source;
  out.offset = tensor.offset;
  return finish(std::move(out));
}

Result<void> TensorBuilder::add_rows(const std::string& name, const SafeTensor& tensor,
                                     const std::vector<RowRange>& rows, std::vector<uint64_t> dims) {
  const TensorType type = KVASIR_TRY(plain_type(tensor));
  FileTensor out = KVASIR_TRY(start(name, std::move(dims), type));
  const uint64_t all_rows = tensor.shape.empty() ? 1 : tensor.shape[0];
  const uint64_t row_bytes = all_rows == 0 ? 0 : tensor.values() / all_rows * element_bytes(type);
  std::vector<SegmentSource::Segment> segments;
  uint64_t total = 0;
  for (const RowRange& range : rows) {
    if (range.first > all_rows || range.count > all_rows - range.first) {
      return Failure(Code::kCorrupt,
                     "tensor " + printable(tensor.name) + " has fewer rows than the configuration says");
    }
    segments.push_back({tensor.source, tensor.offset + range.first * row_bytes, range.count * row_bytes});
    total += range.count * row_bytes;
  }
  if (total != out.bytes)
    return Failure(Code::kCorrupt,
                   "tensor " + printable(tensor.name) + " has another shape than the configuration says");
  sources.push_back(std::make_unique<SegmentSource>(std::move(segments)));
  out.source = sources.back().get();
  return finish(std::move(out));
}

Result<void> TensorBuilder::add_stack(const std::string& name, const std::vector<const SafeTensor*>& parts) {
  std::vector<SegmentSource::Segment> segments;
  const SafeTensor& first = *parts.front();
  for (const SafeTensor* part : parts) {
    if (part->shape != first.shape || part->type != first.type) {
      return Failure(Code::kCorrupt,
                     "tensor " + printable(part->name) + " differs in shape or dtype from " + printable(first.name));
    }
    segments.push_back({part->source, part->offset, part->bytes});
  }
  auto dims = reversed(first.shape);
  dims.push_back(parts.size());
  const TensorType type = KVASIR_TRY(plain_type(first));
  FileTensor out = KVASIR_TRY(start(name, std::move(dims), type));
  sources.push_back(std::make_unique<SegmentSource>(std::move(segments)));
  out.source = sources.back().get();
  return finish(std::move(out));
}

Result<void> TensorBuilder::add_blocks(const std::string& name, TensorType type, std::vector<uint64_t> dims,
                                       MadeSource::Make make) {
  FileTensor out = KVASIR_TRY(start(name, std::move(dims), type));
  sources.push_back(std::make_unique<MadeSource>(out.bytes, std::move(make)));
  out.source = sources.back().get();
  return finish(std::move(out));
}

Result<void> TensorBuilder::add_made(const std::string& name, const SafeTensor& tensor, std::vector<uint64_t> dims,
                                     MakeValues make) {
  KVASIR_TRY(plain_type(tensor));
  return add_blocks(name, TensorType::kF32, std::move(dims),
                    [tensor, make = std::move(make)]() -> Result<std::vector<std::byte>> {
                      const std::vector<float> values = make(KVASIR_TRY(read_f32(tensor)));
                      std::vector<std::byte> bytes(values.size() * sizeof(float));
                      if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
                      return bytes;
                    });
}

Result<void> TensorBuilder::add_values(const std::string& name, std::vector<float> values) {
  const uint64_t count = values.size();
  return add_blocks(name, TensorType::kF32, {count}, [values = std::move(values)]() -> Result<std::vector<std::byte>> {
    std::vector<std::byte> bytes(values.size() * sizeof(float));
    std::memcpy(bytes.data(), values.data(), bytes.size());
    return bytes;
  });
}

}  // namespace kvasir
