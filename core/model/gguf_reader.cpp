#include "core/model/gguf_reader.h"

#include <algorithm>
#include <cstring>

#include "core/base/bytes.h"
#include "core/text/utf8_stream.h"

namespace kvasir {
namespace {

constexpr uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr uint64_t kDefaultAlignment = 32;

/// Sequential little-endian reads through a window of the file; never allocates more than what is left of the file.
class HeaderReader {
 public:
  HeaderReader(const FileSource& file, const ModelLimits& limits)
      : file_(file),
        end_(std::min(file.size(), limits.max_metadata_bytes)),
        window_(std::min<uint64_t>(end_, kWindow)) {}

  uint64_t offset() const noexcept { return offset_; }
  uint64_t remaining() const noexcept { return end_ - offset_; }

  Result<void> bytes(void* into, uint64_t count) {
    if (count > remaining()) return ended();
    auto* out = static_cast<char*>(into);
    while (count > 0) {
      if (offset_ < begin_ || offset_ >= begin_ + filled_) KVASIR_TRY(fill());
      const uint64_t at = offset_ - begin_;
      const uint64_t take = std::min(count, filled_ - at);
      std::memcpy(out, window_.data() + at, take);
      out += take;
      offset_ += take;
      count -= take;
    }
    return {};
  }
  template <class T>
  Result<T> number() {
    T value{};
    KVASIR_TRY(bytes(&value, sizeof value));
    return value;
  }
  Result<std::string> string(uint64_t max_bytes, const char* what) {
    const uint64_t length = KVASIR_TRY(number<uint64_t>());
    if (length > remaining()) {
      return Failure(Code::kCorrupt,
                     std::string(what) + " of " + std::to_string(length) + " bytes reaches past the end");
    }
    if (length > max_bytes) {
      return Failure(Code::kTooLarge, std::string(what) + " of " + std::to_string(length) + " bytes; at most " +
                                          std::to_string(max_bytes) + " are allowed");
    }
    std::string text(length, '\0');
    KVASIR_TRY(bytes(text.data(), length));
    return text;
  }

 private:
  static constexpr uint64_t kWindow = 256u << 10;

  Failure ended() const {
    if (end_ < file_.size())
      return Failure(Code::kTooLarge, "metadata is larger than " + std::to_string(end_) + " bytes");
    return Failure(Code::kCorrupt, "the file ends inside its header, at byte " + std::to_string(file_.size()));
  }
  Result<void> fill() {
    begin_ = offset_;
    filled_ = std::min<uint64_t>(window_.size(), end_ - begin_);
    return file_.read(begin_, std::as_writable_bytes(std::span(window_)).first(filled_));
  }

  const FileSource& file_;
  uint64_t end_;
  std::vector<char> window_;
  uint64_t begin_ = 0, filled_ = 0, offset_ = 0;
};

Result<MetaScalar> read_scalar(HeaderReader& in, MetaType type, const std::string& key) {
  MetaScalar scalar{type, 0};
  KVASIR_TRY(in.bytes(&scalar.bits, scalar_bytes(type)));
  if (type == MetaType::kBool && scalar.bits > 1) {
    return Failure(Code::kCorrupt, "metadata " + printable(key) + ": a bool is neither 0 nor 1");
  }
  return scalar;
}

Result<MetaArray> read_array(HeaderReader& in, const std::string& key, const ModelLimits& limits) {
  MetaArray array;
  array.element = static_cast<MetaType>(KVASIR_TRY(in.number<uint32_t>()));
  array.count = KVASIR_TRY(in.number<uint64_t>());
  const bool strings = array.element == MetaType::kString;
  if (!strings && scalar_bytes(array.element) == 0) {
    return Failure(Code::kCorrupt, "metadata " + printable(key) + ": array of element type " +
                                       std::to_string(static_cast<uint32_t>(array.element)) + " is not allowed");
  }
  // A string takes at least its 8-byte length.
  const auto bytes = checked_mul<uint64_t>(array.count, strings ? 8 : scalar_bytes(array.element));
  if (!bytes || *bytes > in.remaining()) {
    return Failure(Code::kCorrupt, "metadata " + printable(key) + ": array of " + std::to_string(array.count) +
                                       " elements reaches past the end");
  }
  if (array.count > limits.max_array_elements) {
    return Failure(Code::kTooLarge, "metadata " + printable(key) + ": array of " + std::to_string(array.count) +
                                        " elements; at most " + std::to_string(limits.max_array_elements) +
                                        " are allowed");
  }
  if (!strings) {
    array.bytes.resize(*bytes);
    KVASIR_TRY(in.bytes(array.bytes.data(), *bytes));
    return array;
  }
  for (uint64_t i = 0; i < array.count; ++i) {
    array.strings.push_back(KVASIR_TRY(in.string(limits.max_string_bytes, "an array string")));
  }
  return array;
}

Result<MetaValue> read_value(HeaderReader& in, const std::string& key, const ModelLimits& limits) {
  const auto type = static_cast<MetaType>(KVASIR_TRY(in.number<uint32_t>()));
  if (type == MetaType::kString) return MetaValue(KVASIR_TRY(in.string(limits.max_string_bytes, "a metadata string")));
  if (type == MetaType::kArray) return MetaValue(KVASIR_TRY(read_array(in, key, limits)));
  if (scalar_bytes(type) == 0) {
    return Failure(Code::kCorrupt, "metadata " + printable(key) + ": value type " +
                                       std::to_string(static_cast<uint32_t>(type)) + " is unknown");
  }
  return MetaValue(KVASIR_TRY(read_scalar(in, type, key)));
}

Result<Metadata> read_metadata(HeaderReader& in, uint64_t count, const ModelLimits& limits) {
  Metadata metadata;
  for (uint64_t i = 0; i < count; ++i) {
    std::string key = KVASIR_TRY(in.string(limits.max_key_bytes, "a metadata key"));
    if (key.empty() || key.find('\0') != std::string::npos || !is_valid_utf8(key)) {
      return Failure(Code::kCorrupt, "metadata key \"" + printable(key) + "\" is empty or no text");
    }
    MetaValue value = KVASIR_TRY(read_value(in, key, limits));
    if (!metadata.insert(key, std::move(value))) {
      return Failure(Code::kCorrupt, "metadata key " + printable(key) + " is there twice");
    }
  }
  return metadata;
}

Result<uint64_t> read_alignment(const Metadata& metadata, const ModelLimits& limits) {
  const MetaValue* value = metadata.find("general.alignment");
  if (value == nullptr) return kDefaultAlignment;
  const auto* scalar = std::get_if<MetaScalar>(value);
  // The format says uint32 here, and a wrong guess moves every tensor: no other type is taken.
  if (scalar == nullptr || scalar->type != MetaType::kU32)
    return Failure(Code::kCorrupt, "general.alignment is not a u32");
  const uint64_t alignment = scalar->bits;
  if (alignment < limits.min_alignment || alignment > limits.max_alignment || (alignment & (alignment - 1)) != 0) {
    return Failure(Code::kCorrupt, "general.alignment = " + std::to_string(alignment) + " is not a power of two from " +
                                       std::to_string(limits.min_alignment) + " to " +
                                       std::to_string(limits.max_alignment));
  }
  return alignment;
}

bool is_tensor_name(const std::string& name) {
  // Names end in messages and logs, and other tools make file names of them: printable, and nothing like a path.
  return !name.empty() && name.find("..") == std::string::npos &&
         std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c <= '~' && c != '/' && c != '\\'; });
}

/// Values and bytes of a tensor from its dims and type, all checked.
Result<void> size_tensor(FileTensor& tensor, uint32_t type_number, const ModelLimits& limits) {
  const std::string where = "tensor " + printable(tensor.name);
  const TensorTypeInfo* type = tensor_type_info(type_number);
  if (type == nullptr) return Failure(Code::kCorrupt, where + ": type " + std::to_string(type_number) + " is unknown");
  tensor.type = type->type;
  uint64_t values = 1;
  for (uint32_t i = 0; i < tensor.dimensions; ++i) {
    if (tensor.dims[i] == 0 || tensor.dims[i] > limits.max_dimension) {
      return Failure(Code::kCorrupt, where + ": dimension " + std::to_string(tensor.dims[i]) + " is out of range");
    }
    const auto product = checked_mul(values, tensor.dims[i]);
    if (!product || *product > static_cast<uint64_t>(INT64_MAX))
      return Failure(Code::kCorrupt, where + ": size overflows");
    values = *product;
  }
  if (tensor.dims[0] % type->block_values != 0) {
    return Failure(Code::kCorrupt, where + ": rows of " + std::to_string(tensor.dims[0]) +
                                       " values are no multiple of " + std::to_string(type->block_values) +
                                       ", the block of " + std::string(type->name));
  }
  const auto bytes = checked_mul<uint64_t>(values / type->block_values, type->block_bytes);
  if (!bytes) return Failure(Code::kCorrupt, where + ": size overflows");
  tensor.bytes = *bytes;
  return {};
}

Result<FileTensor> read_tensor(HeaderReader& in, uint64_t alignment, const ModelLimits& limits) {
  FileTensor tensor;
  tensor.name = KVASIR_TRY(in.string(limits.max_tensor_name_bytes, "a tensor name"));
  if (!is_tensor_name(tensor.name)) {
    return Failure(Code::kCorrupt, "tensor name \"" + printable(tensor.name) + "\" is empty, no plain text, or a path");
  }
  tensor.dimensions = KVASIR_TRY(in.number<uint32_t>());
  if (tensor.dimensions == 0 || tensor.dimensions > limits.max_dimensions) {
    return Failure(Code::kCorrupt,
                   "tensor " + printable(tensor.name) + ": " + std::to_string(tensor.dimensions) + " dimensions");
  }
  for (uint32_t i = 0; i < tensor.dimensions; ++i) tensor.dims[i] = KVASIR_TRY(in.number<uint64_t>());
  const uint32_t type = KVASIR_TRY(in.number<uint32_t>());
  tensor.offset = KVASIR_TRY(in.number<uint64_t>());
  KVASIR_TRY(size_tensor(tensor, type, limits));
  if (tensor.offset % alignment != 0) {
    return Failure(Code::kCorrupt, "tensor " + printable(tensor.name) + ": offset is not aligned");
  }
  return tensor;
}

/// Tensors must lie one after another in some order, each padded to the alignment, inside the file.
Result<void> place_tensors(std::vector<FileTensor>& tensors, uint64_t data_begin, uint64_t alignment,
                           const FileSource& file) {
  std::vector<FileTensor*> order;
  order.reserve(tensors.size());
  for (FileTensor& tensor : tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const FileTensor* a, const FileTensor* b) { return a->offset < b->offset; });
  uint64_t expected = 0;
  for (FileTensor* tensor : order) {
    const std::string where = "tensor " + printable(tensor->name);
    if (tensor->offset < expected) return Failure(Code::kCorrupt, where + " overlaps another tensor");
    if (tensor->offset > expected)
      return Failure(Code::kCorrupt, where + ": a gap of unused bytes lies before its data");
    const auto begin = checked_add(data_begin, tensor->offset);
    const auto end = begin ? checked_add(*begin, tensor->bytes) : std::nullopt;
    if (!end || *end > file.size()) {
      return Failure(Code::kCorrupt, where + ": its data ends after the file; the file is cut off or damaged");
    }
    const auto next = align_up(tensor->offset + tensor->bytes, alignment);
    if (!next) return Failure(Code::kCorrupt, where + ": size overflows");
    expected = *next;
    tensor->offset = *begin;
    tensor->source = &file;
  }
  return {};
}

struct Header {
  uint32_t version = 0;
  uint64_t tensors = 0, keys = 0;
};

Result<Header> read_header(HeaderReader& in, const ModelLimits& limits) {
  const uint32_t magic = KVASIR_TRY(in.number<uint32_t>());
  if (magic != kMagic) return Failure(Code::kUnsupported, "not a GGUF file (its first bytes are not \"GGUF\")");
  Header header;
  header.version = KVASIR_TRY(in.number<uint32_t>());
  if (header.version != 2 && header.version != 3) {
    const bool swapped = header.version == 0x02000000 || header.version == 0x03000000;
    return Failure(Code::kUnsupported,
                   swapped ? std::string("big-endian GGUF files are not supported")
                           : "GGUF version " + std::to_string(header.version) + " is not supported (2 and 3 are)");
  }
  header.tensors = KVASIR_TRY(in.number<uint64_t>());
  header.keys = KVASIR_TRY(in.number<uint64_t>());
  if (header.tensors > limits.max_tensors || header.keys > limits.max_metadata_keys) {
    return Failure(Code::kTooLarge, "the header announces " + std::to_string(header.tensors) + " tensors and " +
                                        std::to_string(header.keys) + " keys; at most " +
                                        std::to_string(limits.max_tensors) + " and " +
                                        std::to_string(limits.max_metadata_keys) + " are allowed");
  }
  return header;
}

Result<GgufPart> read_checked(std::unique_ptr<FileSource> file, const ModelLimits& limits) {
  HeaderReader in(*file, limits);
  const Header header = KVASIR_TRY(read_header(in, limits));
  GgufPart part;
  part.version = header.version;
  part.metadata = KVASIR_TRY(read_metadata(in, header.keys, limits));
  const uint64_t alignment = KVASIR_TRY(read_alignment(part.metadata, limits));
  for (uint64_t i = 0; i < header.tensors; ++i) part.tensors.push_back(KVASIR_TRY(read_tensor(in, alignment, limits)));
  if (!part.tensors.empty()) {
    const auto data_begin = align_up(in.offset(), alignment);
    if (!data_begin) return Failure(Code::kCorrupt, "header size overflows");
    KVASIR_TRY(place_tensors(part.tensors, *data_begin, alignment, *file));
  }
  part.file = std::move(file);
  return part;
}

}  // namespace

Result<GgufPart> read_gguf(std::unique_ptr<FileSource> file, const ModelLimits& limits) {
  const std::string path = file->path();
  auto part = read_checked(std::move(file), limits);
  if (!part) return Failure(part.error().code, path + ": " + part.error().message);
  return part;
}

}  // namespace kvasir
