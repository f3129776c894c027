#include "tests/model/gguf_writer.h"

#include <bit>
#include <cstring>
#include <fstream>
#include <stdexcept>

namespace kvasir::test {
namespace {

constexpr uint64_t kAlignment = 32;

template <class T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}
void put_text(std::string& out, std::string_view text) {
  put(out, static_cast<uint64_t>(text.size()));
  out.append(text);
}
void pad(std::string& out) {
  out.resize((out.size() + kAlignment - 1) / kAlignment * kAlignment, '\0');
}

template <class T>
MetaArray array_of(MetaType type, const std::vector<T>& values) {
  MetaArray array;
  array.element = type;
  array.count = values.size();
  array.bytes.assign(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
  return array;
}

}  // namespace

GgufWriter& GgufWriter::value(std::string_view key, const MetaValue& value) {
  ++keys_;
  put_text(metadata_, key);
  if (const auto* scalar = std::get_if<MetaScalar>(&value)) {
    put(metadata_, static_cast<uint32_t>(scalar->type));
    metadata_.append(reinterpret_cast<const char*>(&scalar->bits), scalar_bytes(scalar->type));
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    put(metadata_, static_cast<uint32_t>(MetaType::kString));
    put_text(metadata_, *text);
  } else {
    const auto& array = std::get<MetaArray>(value);
    put(metadata_, static_cast<uint32_t>(MetaType::kArray));
    put(metadata_, static_cast<uint32_t>(array.element));
    put(metadata_, array.count);
    metadata_ += array.bytes;
    for (const std::string& element : array.strings) put_text(metadata_, element);
  }
  return *this;
}

GgufWriter& GgufWriter::number(std::string_view key, uint32_t number) {
  return value(key, MetaScalar{MetaType::kU32, number});
}
GgufWriter& GgufWriter::number16(std::string_view key, uint16_t number) {
  return value(key, MetaScalar{MetaType::kU16, number});
}
GgufWriter& GgufWriter::signed_number(std::string_view key, int32_t number) {
  return value(key, MetaScalar{MetaType::kI32, static_cast<uint32_t>(number)});
}
GgufWriter& GgufWriter::real(std::string_view key, float number) {
  return value(key, MetaScalar{MetaType::kF32, std::bit_cast<uint32_t>(number)});
}
GgufWriter& GgufWriter::flag(std::string_view key, bool on) {
  return value(key, MetaScalar{MetaType::kBool, on ? 1U : 0U});
}
GgufWriter& GgufWriter::text(std::string_view key, std::string_view text) {
  return value(key, std::string(text));
}
GgufWriter& GgufWriter::texts(std::string_view key, const std::vector<std::string>& values) {
  MetaArray array;
  array.element = MetaType::kString;
  array.count = values.size();
  array.strings = values;
  return value(key, array);
}
GgufWriter& GgufWriter::reals(std::string_view key, const std::vector<float>& values) {
  return value(key, array_of(MetaType::kF32, values));
}
GgufWriter& GgufWriter::signed_numbers(std::string_view key, const std::vector<int32_t>& values) {
  return value(key, array_of(MetaType::kI32, values));
}

GgufWriter& GgufWriter::copy(const Metadata& metadata, std::string_view without) {
  for (const std::string& key : metadata.keys()) {
    if (!key.starts_with(without)) value(key, *metadata.find(key));
  }
  return *this;
}

GgufWriter& GgufWriter::tensor(std::string name, TensorType type, std::vector<uint64_t> dims, std::string bytes) {
  tensors_.push_back({std::move(name), type, std::move(dims), std::move(bytes)});
  return *this;
}

GgufWriter& GgufWriter::tensor(const FileTensor& from) {
  std::string bytes(from.bytes, '\0');
  if (!from.source->read(from.offset, std::as_writable_bytes(std::span(bytes))))
    throw std::runtime_error("read failed");
  return tensor(from.name, from.type, {from.dims.begin(), from.dims.begin() + from.dimensions}, std::move(bytes));
}

std::string GgufWriter::bytes() const {
  std::string out = "GGUF";
  put(out, uint32_t{3});
  put(out, static_cast<uint64_t>(tensors_.size()));
  put(out, keys_);
  out += metadata_;
  uint64_t offset = 0;
  for (const Tensor& tensor : tensors_) {
    put_text(out, tensor.name);
    put(out, static_cast<uint32_t>(tensor.dims.size()));
    for (const uint64_t dim : tensor.dims) put(out, dim);
    put(out, static_cast<uint32_t>(tensor.type));
    put(out, offset);
    offset += (tensor.bytes.size() + kAlignment - 1) / kAlignment * kAlignment;
  }
  for (const Tensor& tensor : tensors_) {
    pad(out);
    out += tensor.bytes;
  }
  pad(out);
  return out;
}

void GgufWriter::write(const std::filesystem::path& path) const {
  const std::string all = bytes();
  std::ofstream(path, std::ios::binary).write(all.data(), static_cast<std::streamsize>(all.size()));
}

}  // namespace kvasir::test
