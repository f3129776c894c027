#include "core/model/hf/safetensors_reader.h"

#include <algorithm>

#include "core/base/bytes.h"
#include "core/model/hf/json_value.h"
#include "core/text/utf8_stream.h"

namespace kvasir {
namespace {

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 16u << 20;
constexpr uint32_t kMaxHeaderDepth = 4;

struct TypeRow {
  std::string_view name;
  SafeType type;
  uint64_t bytes;
};
constexpr TypeRow kTypes[] = {
    {"F32", SafeType::kF32, 4},        {"F16", SafeType::kF16, 2},    {"BF16", SafeType::kBF16, 2},
    {"F8_E4M3", SafeType::kF8E4M3, 1}, {"I64", SafeType::kI64, 8},    {"I32", SafeType::kI32, 4},
    {"U8", SafeType::kU8, 1},          {"F64", SafeType::kOther, 8},  {"I16", SafeType::kOther, 2},
    {"I8", SafeType::kOther, 1},       {"U16", SafeType::kOther, 2},  {"U32", SafeType::kOther, 4},
    {"U64", SafeType::kOther, 8},      {"BOOL", SafeType::kOther, 1}, {"F8_E5M2", SafeType::kOther, 1},
    {"F8_E8M0", SafeType::kOther, 1},
};

Failure bad(std::string_view name, const std::string& what) {
  return Failure(Code::kCorrupt, "safetensors header: tensor " + printable(name) + ": " + what);
}

Result<std::vector<uint64_t>> shape_of(std::string_view name, const JsonValue& entry, const ModelLimits& limits) {
  const JsonValue* shape = entry.find("shape");
  if (shape == nullptr || shape->array() == nullptr) return bad(name, "shape is not an array");
  if (shape->array()->size() > 8) return bad(name, "more than 8 dimensions");
  std::vector<uint64_t> out;
  for (const auto& dim : *shape->array()) {
    const auto value = dim.integer(0, static_cast<int64_t>(limits.max_dimension));
    if (!value) return bad(name, "a dimension is not an integer from 0 to " + std::to_string(limits.max_dimension));
    out.push_back(static_cast<uint64_t>(*value));
  }
  return out;
}

Result<uint64_t> byte_size(std::string_view name, const std::vector<uint64_t>& shape, uint64_t each) {
  uint64_t total = each;
  for (const uint64_t dim : shape) {
    const auto next = checked_mul(total, dim);
    if (!next) return bad(name, "its size overflows");
    total = *next;
  }
  return total;
}

Result<SafeTensor> tensor_of(const std::string& name, const JsonValue& entry, const FileSource& file,
                             uint64_t data_begin, const ModelLimits& limits) {
  if (entry.object() == nullptr) return bad(name, "its entry is not an object");
  SafeTensor out;
  out.name = name;
  out.source = &file;
  const JsonValue* dtype = entry.find("dtype");
  if (dtype == nullptr || dtype->string() == nullptr) return bad(name, "dtype is missing");
  out.type_name = *dtype->string();
  const auto* row =
      std::find_if(std::begin(kTypes), std::end(kTypes), [&](const TypeRow& t) { return t.name == out.type_name; });
  if (row == std::end(kTypes)) return bad(name, "unknown dtype " + printable(out.type_name));
  out.type = row->type;
  out.shape = KVASIR_TRY(shape_of(name, entry, limits));
  const JsonValue* offsets = entry.find("data_offsets");
  if (offsets == nullptr || offsets->array() == nullptr || offsets->array()->size() != 2) {
    return bad(name, "data_offsets is not a pair");
  }
  const auto begin = (*offsets->array())[0].integer(0, INT64_MAX), end = (*offsets->array())[1].integer(0, INT64_MAX);
  if (!begin || !end || *begin > *end) return bad(name, "data_offsets are not two integers in order");
  out.bytes = static_cast<uint64_t>(*end - *begin);
  if (static_cast<uint64_t>(*end) > file.size() - data_begin) return bad(name, "its data ends after the file");
  if (out.bytes != KVASIR_TRY(byte_size(name, out.shape, row->bytes)))
    return bad(name, "its data_offsets do not fit dtype and shape");
  out.offset = data_begin + static_cast<uint64_t>(*begin);
  return out;
}

/// Tensors must cover the data exactly: no holes, no overlaps, nothing after the last.
Result<void> check_cover(std::vector<SafeTensor>& tensors, uint64_t data_begin, uint64_t file_bytes) {
  std::sort(tensors.begin(), tensors.end(), [](const SafeTensor& a, const SafeTensor& b) {
    return std::pair(a.offset, a.bytes) < std::pair(b.offset, b.bytes);
  });
  uint64_t at = data_begin;
  for (const auto& t : tensors) {
    if (t.offset != at)
      return bad(t.name, t.offset < at ? "it overlaps another tensor" : "there is a hole before its data");
    at += t.bytes;
  }
  if (at != file_bytes)
    return Failure(Code::kCorrupt, "safetensors: " + std::to_string(file_bytes - at) + " bytes follow the last tensor");
  return {};
}

}  // namespace

uint64_t SafeTensor::values() const noexcept {
  uint64_t out = 1;
  for (const uint64_t dim : shape) out *= dim;
  return out;
}

Result<std::vector<SafeTensor>> read_safetensors(const FileSource& file, const ModelLimits& limits) {
  if (file.size() < kLengthBytes) return Failure(Code::kCorrupt, "safetensors: the file is shorter than 8 bytes");
  uint64_t length = 0;
  KVASIR_TRY(file.read(0, std::as_writable_bytes(std::span(&length, 1))));
  if (length > kMaxHeaderBytes) {
    return Failure(Code::kTooLarge, "safetensors: a header of " + std::to_string(length) + " bytes; at most " +
                                        std::to_string(kMaxHeaderBytes) + " are allowed");
  }
  if (length > file.size() - kLengthBytes)
    return Failure(Code::kCorrupt, "safetensors: the header ends after the file");
  std::string text(length, '\0');
  KVASIR_TRY(file.read(kLengthBytes, std::as_writable_bytes(std::span(text))));
  if (text.empty() || text.front() != '{')
    return Failure(Code::kCorrupt, "safetensors: the header does not begin with '{'");
  if (!is_valid_utf8(text)) return Failure(Code::kCorrupt, "safetensors: the header is not UTF-8");
  JsonLimits json_limits;
  json_limits.max_depth = kMaxHeaderDepth;
  json_limits.max_values = 1'000'000;  // 65,536 tensors have less than half
  const JsonValue header = KVASIR_TRY(JsonValue::parse(text, json_limits));
  if (header.object()->size() > limits.max_tensors + 1) {
    return Failure(Code::kTooLarge, "safetensors: more than " + std::to_string(limits.max_tensors) + " tensors");
  }
  const uint64_t data_begin = kLengthBytes + length;
  std::vector<SafeTensor> tensors;
  for (const auto& [name, entry] : *header.object()) {
    if (name == "__metadata__") {
      if (entry.object() == nullptr) return Failure(Code::kCorrupt, "safetensors: __metadata__ is not an object");
      for (const auto& [key, value] : *entry.object()) {
        if (value.string() == nullptr)
          return Failure(Code::kCorrupt, "safetensors: __metadata__ holds something other than strings");
      }
      continue;
    }
    if (name.empty() || name.size() > limits.max_key_bytes)
      return Failure(Code::kCorrupt, "safetensors: a tensor's name is empty or too long");
    tensors.push_back(KVASIR_TRY(tensor_of(name, entry, file, data_begin, limits)));
  }
  KVASIR_TRY(check_cover(tensors, data_begin, file.size()));
  return tensors;
}

}  // namespace kvasir
