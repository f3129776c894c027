#include "core/model/metadata.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "core/model/file_source.h"

namespace kvasir {
namespace {

struct TypeRow {
  MetaType type;
  uint32_t bytes;
  const char* name;
};
constexpr std::array kTypes = {
    TypeRow{MetaType::kU8, 1, "u8"},       TypeRow{MetaType::kI8, 1, "i8"},     TypeRow{MetaType::kU16, 2, "u16"},
    TypeRow{MetaType::kI16, 2, "i16"},     TypeRow{MetaType::kU32, 4, "u32"},   TypeRow{MetaType::kI32, 4, "i32"},
    TypeRow{MetaType::kF32, 4, "f32"},     TypeRow{MetaType::kBool, 1, "bool"}, TypeRow{MetaType::kString, 0, "string"},
    TypeRow{MetaType::kArray, 0, "array"}, TypeRow{MetaType::kU64, 8, "u64"},   TypeRow{MetaType::kI64, 8, "i64"},
    TypeRow{MetaType::kF64, 8, "f64"},
};

const TypeRow* row_of(MetaType type) {
  for (const TypeRow& row : kTypes) {
    if (row.type == type) return &row;
  }
  return nullptr;
}

/// The value of an integer scalar, if it is one and fits int64.
std::optional<int64_t> as_integer(MetaType type, uint64_t bits) {
  switch (type) {
    case MetaType::kU8:
      return static_cast<int64_t>(static_cast<uint8_t>(bits));
    case MetaType::kI8:
      return static_cast<int8_t>(bits);
    case MetaType::kU16:
      return static_cast<int64_t>(static_cast<uint16_t>(bits));
    case MetaType::kI16:
      return static_cast<int16_t>(bits);
    case MetaType::kU32:
      return static_cast<int64_t>(static_cast<uint32_t>(bits));
    case MetaType::kI32:
      return static_cast<int32_t>(bits);
    case MetaType::kI64:
      return static_cast<int64_t>(bits);
    case MetaType::kU64:
      if (bits > static_cast<uint64_t>(INT64_MAX)) return std::nullopt;
      return static_cast<int64_t>(bits);
    default:
      return std::nullopt;
  }
}

bool is_integer(MetaType type) {
  return as_integer(type, 0).has_value();
}

uint64_t element_bits(const MetaArray& array, uint64_t index) {
  const uint32_t size = scalar_bytes(array.element);
  uint64_t bits = 0;
  std::memcpy(&bits, array.bytes.data() + index * size, size);
  return bits;
}

std::string kind_of(const MetaValue& value) {
  if (const auto* scalar = std::get_if<MetaScalar>(&value)) return type_name(scalar->type);
  if (const auto* array = std::get_if<MetaArray>(&value)) return std::string("array of ") + type_name(array->element);
  return "string";
}

Failure wrong_type(std::string_view key, const MetaValue& value, const char* wanted) {
  return Failure(Code::kCorrupt, "metadata " + printable(key) + " is " + kind_of(value) + ", not " + wanted);
}

std::string scalar_text(const MetaScalar& scalar) {
  if (const auto integer = as_integer(scalar.type, scalar.bits)) return std::to_string(*integer);
  std::array<char, 40> text{};
  switch (scalar.type) {
    case MetaType::kBool:
      return scalar.bits ? "true" : "false";
    case MetaType::kF32:
      std::snprintf(text.data(), text.size(), "%.9g",
                    static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(scalar.bits))));
      return text.data();
    case MetaType::kF64:
      std::snprintf(text.data(), text.size(), "%.17g", std::bit_cast<double>(scalar.bits));
      return text.data();
    default:
      return std::to_string(scalar.bits);
  }
}

}  // namespace

uint32_t scalar_bytes(MetaType type) noexcept {
  const TypeRow* row = row_of(type);
  return row == nullptr ? 0 : row->bytes;
}

const char* type_name(MetaType type) noexcept {
  const TypeRow* row = row_of(type);
  return row == nullptr ? "unknown" : row->name;
}

bool Metadata::insert(std::string key, MetaValue value) {
  const auto [it, fresh] = values_.try_emplace(key, std::move(value));
  if (fresh) keys_.push_back(std::move(key));
  return fresh;
}

const MetaValue* Metadata::find(std::string_view key) const {
  const auto it = values_.find(key);
  return it == values_.end() ? nullptr : &it->second;
}

Result<std::optional<int64_t>> Metadata::integer(std::string_view key, int64_t low, int64_t high) const {
  const MetaValue* value = find(key);
  if (value == nullptr) return std::optional<int64_t>();
  const auto* scalar = std::get_if<MetaScalar>(value);
  if (scalar == nullptr || !is_integer(scalar->type)) return wrong_type(key, *value, "an integer");
  const auto number = as_integer(scalar->type, scalar->bits);
  if (!number || *number < low || *number > high) {
    return Failure(Code::kCorrupt, "metadata " + printable(key) + " = " + scalar_text(*scalar) + " is out of range " +
                                       std::to_string(low) + ".." + std::to_string(high));
  }
  return number;
}

Result<std::optional<double>> Metadata::real(std::string_view key) const {
  const MetaValue* value = find(key);
  if (value == nullptr) return std::optional<double>();
  const auto* scalar = std::get_if<MetaScalar>(value);
  double number = 0.0;
  if (scalar != nullptr && scalar->type == MetaType::kF32) {
    number = static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(scalar->bits)));
  } else if (scalar != nullptr && scalar->type == MetaType::kF64) {
    number = std::bit_cast<double>(scalar->bits);
  } else {
    return wrong_type(key, *value, "a floating-point number");
  }
  if (!std::isfinite(number)) return Failure(Code::kCorrupt, "metadata " + printable(key) + " is not finite");
  return std::optional<double>(number);
}

Result<std::optional<bool>> Metadata::boolean(std::string_view key) const {
  const MetaValue* value = find(key);
  if (value == nullptr) return std::optional<bool>();
  const auto* scalar = std::get_if<MetaScalar>(value);
  if (scalar == nullptr || scalar->type != MetaType::kBool) return wrong_type(key, *value, "a bool");
  return std::optional<bool>(scalar->bits != 0);
}

Result<std::optional<std::string_view>> Metadata::string(std::string_view key) const {
  const MetaValue* value = find(key);
  if (value == nullptr) return std::optional<std::string_view>();
  const auto* text = std::get_if<std::string>(value);
  if (text == nullptr) return wrong_type(key, *value, "a string");
  return std::optional<std::string_view>(*text);
}

Result<std::optional<std::vector<int64_t>>> Metadata::integers(std::string_view key) const {
  using Out = std::optional<std::vector<int64_t>>;
  const MetaValue* value = find(key);
  if (value == nullptr) return Out();
  const auto* array = std::get_if<MetaArray>(value);
  if (array == nullptr || (!is_integer(array->element) && array->element != MetaType::kBool)) {
    return wrong_type(key, *value, "an array of integers");
  }
  std::vector<int64_t> out;
  out.reserve(array->count);
  for (uint64_t i = 0; i < array->count; ++i) {
    const uint64_t bits = element_bits(*array, i);
    const auto number =
        array->element == MetaType::kBool ? std::optional<int64_t>(bits != 0) : as_integer(array->element, bits);
    if (!number) return Failure(Code::kCorrupt, "metadata " + printable(key) + " holds an integer beyond 2^63");
    out.push_back(*number);
  }
  return Out(std::move(out));
}

Result<std::optional<std::vector<float>>> Metadata::floats(std::string_view key) const {
  using Out = std::optional<std::vector<float>>;
  const MetaValue* value = find(key);
  if (value == nullptr) return Out();
  const auto* array = std::get_if<MetaArray>(value);
  if (array == nullptr || array->element != MetaType::kF32) return wrong_type(key, *value, "an array of f32");
  std::vector<float> out(array->count);
  std::memcpy(out.data(), array->bytes.data(), array->bytes.size());
  return Out(std::move(out));
}

Result<const std::vector<std::string>*> Metadata::strings(std::string_view key) const {
  const MetaValue* value = find(key);
  if (value == nullptr) return static_cast<const std::vector<std::string>*>(nullptr);
  const auto* array = std::get_if<MetaArray>(value);
  if (array == nullptr || array->element != MetaType::kString) return wrong_type(key, *value, "an array of strings");
  return &array->strings;
}

std::string Metadata::describe(std::string_view key) const {
  const MetaValue* value = find(key);
  if (value == nullptr) return {};
  if (const auto* scalar = std::get_if<MetaScalar>(value)) return scalar_text(*scalar);
  if (const auto* text = std::get_if<std::string>(value)) return printable(*text);
  const auto& array = std::get<MetaArray>(*value);
  return "[" + std::to_string(array.count) + " x " + type_name(array.element) + "]";
}

}  // namespace kvasir
