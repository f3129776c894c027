#include "core/model/quantise.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <unordered_map>

#include "backends/reference/dequantise.h"
#include "core/model/file_source.h"

namespace kvasir {
namespace {

constexpr size_t kBlock = 32;            ///< values of a block of Q8_0 and Q4_0
constexpr uint64_t kPieceValues = 32768;  ///< read, decoded and rounded at a time: stays in the cache

/// To nearest, halves away from zero: roundf() without the call, exact for |x| < 2^23.
int32_t round_away(float x) noexcept {
  const auto whole = static_cast<int32_t>(x);
  const float rest = x - static_cast<float>(whole);
  return whole + static_cast<int32_t>(rest >= 0.5F) - static_cast<int32_t>(rest <= -0.5F);
}

void put_scale(std::byte* block, float scale) noexcept {
  const uint16_t half = float_to_half(scale);
  std::memcpy(block, &half, sizeof half);
}

bool fits_half(float scale) noexcept {
  constexpr float kLargestHalf = 65504.0F;
  return std::fabs(scale) <= kLargestHalf;
}

bool q8_0_block(const float* x, std::byte* block) noexcept {
  float largest = 0.0F;
  bool finite = true;
  for (size_t i = 0; i < kBlock; ++i) {
    const float magnitude = std::fabs(x[i]);
    finite &= magnitude <= std::numeric_limits<float>::max();
    largest = std::max(largest, magnitude);
  }
  const float scale = largest / 127.0F;
  if (!finite || !fits_half(scale)) return false;
  const float inverse = scale != 0.0F ? 1.0F / scale : 0.0F;
  // Values so small that their scale has no finite inverse; in half precision that scale is 0 anyway.
  if (!(inverse <= std::numeric_limits<float>::max())) return q8_0_block(std::array<float, kBlock>{}.data(), block);
  put_scale(block, scale);
  std::array<int8_t, kBlock> codes{};
  for (size_t i = 0; i < kBlock; ++i) codes[i] = static_cast<int8_t>(round_away(x[i] * inverse));
  std::memcpy(block + sizeof(uint16_t), codes.data(), codes.size());
  return true;
}

bool q4_0_block(const float* x, std::byte* block) noexcept {
  float largest = 0.0F, extreme = 0.0F;
  bool finite = true;
  for (size_t i = 0; i < kBlock; ++i) {
    const float magnitude = std::fabs(x[i]);
    finite &= magnitude <= std::numeric_limits<float>::max();
    if (magnitude > largest) {
      largest = magnitude;
      extreme = x[i];
    }
  }
  const float scale = extreme / -8.0F;
  if (!finite || !fits_half(scale)) return false;
  const float inverse = scale != 0.0F ? 1.0F / scale : 0.0F;
  if (!(std::fabs(inverse) <= std::numeric_limits<float>::max())) {
    return q4_0_block(std::array<float, kBlock>{}.data(), block);
  }
  put_scale(block, scale);
  // x * inverse lies in [-8, 8] up to rounding, so the sum is above zero and the cast cuts down.
  const auto code = [&](float value) {
    return static_cast<uint8_t>(std::clamp(static_cast<int32_t>(value * inverse + 8.5F), 0, 15));
  };
  for (size_t i = 0; i < kBlock / 2; ++i) {
    block[sizeof(uint16_t) + i] = static_cast<std::byte>(code(x[i]) | (code(x[i + kBlock / 2]) << 4));
  }
  return true;
}

bool bf16_value(float x, std::byte* to) noexcept {
  const uint16_t bits = float_to_bfloat(x);
  std::memcpy(to, &bits, sizeof bits);
  constexpr uint16_t kExponent = 0x7F80;
  return (bits & kExponent) != kExponent;
}

bool is_float(TensorType type) noexcept {
  return type == TensorType::kF32 || type == TensorType::kF16 || type == TensorType::kBF16;
}

/// The blocks of a float tensor, made when they are read.
class QuantisingSource final : public ByteSource {
 public:
  QuantisingSource(const FileTensor& tensor, TensorType to) : tensor_(tensor), to_(to) {}

  Result<void> read(uint64_t offset, std::span<std::byte> into) const override {
    const uint64_t block_bytes = tensor_type_info(to_)->block_bytes, block_values = tensor_type_info(to_)->block_values;
    if (offset % block_bytes != 0 || into.size() % block_bytes != 0) {
      return Failure(Code::kInternal, "tensor " + tensor_.name + " was read across its blocks");
    }
    const uint64_t value_bytes = tensor_type_info(tensor_.type)->block_bytes;
    uint64_t block = offset / block_bytes;
    uint64_t left = into.size() / block_bytes;
    if (block > tensor_.values() / block_values || left > tensor_.values() / block_values - block) {
      return Failure(Code::kInternal, "tensor " + tensor_.name + " was read past its end");
    }
    const uint64_t piece_blocks = std::min(left, kPieceValues / block_values);
    std::vector<std::byte> raw(piece_blocks * block_values * value_bytes);
    std::vector<float> values(piece_blocks * block_values);
    while (left > 0) {
      const uint64_t count = std::min(left, piece_blocks);
      const auto bytes = std::span(raw).first(count * block_values * value_bytes);
      KVASIR_TRY(tensor_.source->read(tensor_.offset + block * block_values * value_bytes, bytes));
      const auto piece = std::span(values).first(count * block_values);
      dequantise(tensor_.type, bytes, piece);
      if (!quantise_blocks(to_, piece, into.first(count * block_bytes))) {
        return Failure(Code::kCorrupt, "tensor " + printable(tensor_.name) +
                                           " holds values that are not finite or too large to be quantised");
      }
      into = into.subspan(count * block_bytes);
      block += count;
      left -= count;
    }
    return {};
  }

 private:
  FileTensor tensor_;
  TensorType to_;
};

/// llama-quantize's rule: matrices called ".weight", but for norms, routers, convolutions, positions and the small
/// projections of gemma's per-layer inputs.
bool is_quantisable(const FileTensor& tensor) {
  if (tensor.dimensions < 2 || tensor.dims[1] < 2 || !is_float(tensor.type) || !tensor.name.ends_with(".weight")) {
    return false;
  }
  for (const char* kept : {"_norm.weight", "ffn_gate_inp", "conv", "position_embd", "token_types",
                           "per_layer_model_proj", "altup", "laurel", "attn_rel_b"}) {
    if (tensor.name.find(kept) != std::string::npos) return false;
  }
  return true;
}

class QuantisedModelFile final : public ModelFile {
 public:
  QuantisedModelFile(std::unique_ptr<ModelFile> file, std::vector<FileTensor> tensors,
                     std::vector<std::unique_ptr<ByteSource>> sources)
      : file_(std::move(file)), tensors_(std::move(tensors)), sources_(std::move(sources)) {
    for (const FileTensor& tensor : tensors_) by_name_.emplace(tensor.name, &tensor);
  }
  const std::string& path() const noexcept override { return file_->path(); }
  std::string format() const override { return file_->format(); }
  uint64_t file_bytes() const noexcept override { return file_->file_bytes(); }
  const Metadata& metadata() const noexcept override { return file_->metadata(); }
  const std::vector<FileTensor>& tensors() const noexcept override { return tensors_; }
  const FileTensor* find(std::string_view name) const override {
    const auto it = by_name_.find(name);
    return it == by_name_.end() ? nullptr : it->second;
  }
  bool permutes_query_key() const noexcept override { return file_->permutes_query_key(); }
  Result<VocabularyData> vocabulary() const override { return file_->vocabulary(); }
  Result<std::optional<std::string>> chat_template() const override { return file_->chat_template(); }
  Result<void> check_unchanged() const override { return file_->check_unchanged(); }
  const ModelFile& stored() const noexcept override { return *file_; }

 private:
  std::unique_ptr<ModelFile> file_;
  std::vector<FileTensor> tensors_;
  std::vector<std::unique_ptr<ByteSource>> sources_;
  std::unordered_map<std::string_view, const FileTensor*> by_name_;
};

/// The output matrix decides most about quality: llama-quantize takes more bits for it than for the rest, and so for a
/// token table that serves as both.
TensorType target_type(const ModelFile& file, const FileTensor& tensor, QuantizeOnLoad how) {
  if (how == QuantizeOnLoad::kBF16) return TensorType::kBF16;
  if (how == QuantizeOnLoad::kQ8_0) return TensorType::kQ8_0;
  const bool output =
      tensor.name == "output.weight" || (tensor.name == "token_embd.weight" && file.find("output.weight") == nullptr);
  return output ? TensorType::kQ8_0 : TensorType::kQ4_0;
}

std::string_view name_of(QuantizeOnLoad how) {
  if (how == QuantizeOnLoad::kBF16) return "BF16";
  return how == QuantizeOnLoad::kQ8_0 ? "Q8_0" : "Q4_0";
}

std::string note_of(size_t changed, const std::vector<std::string>& kept, QuantizeOnLoad how) {
  std::string note = std::to_string(changed) + " float matrices quantized to " +
                     std::string(name_of(how)) + " while loading";
  if (!kept.empty()) {
    note += "; " + std::to_string(kept.size()) + " kept, their rows being no multiple of 32 values (" +
            printable(kept.front()) + (kept.size() > 1 ? ", ...)" : ")");
  }
  return note;
}

}  // namespace

bool quantise_blocks(TensorType type, std::span<const float> values, std::span<std::byte> blocks) noexcept {
  const uint64_t block_bytes = tensor_type_info(type)->block_bytes;
  bool good = true;
  if (type == TensorType::kBF16) {
    for (size_t i = 0; i < values.size(); ++i) good &= bf16_value(values[i], blocks.data() + i * block_bytes);
    return good;
  }
  for (size_t i = 0; i < values.size() / kBlock; ++i) {
    const float* x = values.data() + i * kBlock;
    std::byte* block = blocks.data() + i * block_bytes;
    good &= type == TensorType::kQ8_0 ? q8_0_block(x, block) : q4_0_block(x, block);
  }
  return good;
}

QuantisedFile quantise_on_load(std::unique_ptr<ModelFile> file, QuantizeOnLoad how) {
  if (how == QuantizeOnLoad::kNone) return {std::move(file), {}};
  std::vector<FileTensor> tensors = file->tensors();
  std::vector<std::unique_ptr<ByteSource>> sources;
  std::vector<std::string> kept;
  for (FileTensor& tensor : tensors) {
    if (!is_quantisable(tensor)) continue;
    const TensorType to = target_type(*file, tensor, how);
    if (to == tensor.type) continue;
    const TensorTypeInfo& info = *tensor_type_info(to);
    if (tensor.dims[0] % info.block_values != 0) {
      kept.push_back(tensor.name);
      continue;
    }
    sources.push_back(std::make_unique<QuantisingSource>(tensor, to));
    tensor.type = to;
    tensor.source = sources.back().get();
    tensor.offset = 0;
    tensor.bytes = tensor.values() / info.block_values * info.block_bytes;
  }
  if (sources.empty() && kept.empty()) return {std::move(file), {}};
  std::string note = note_of(sources.size(), kept, how);
  return {std::make_unique<QuantisedModelFile>(std::move(file), std::move(tensors), std::move(sources)),
          std::move(note)};
}

}  // namespace kvasir
