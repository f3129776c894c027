// How folder_config.cpp reads config.json and writes metadata: typed getters that remember the first error. Used by
// that file alone, on one thread.
#pragma once

#include <bit>

#include "core/model/hf/folder_config.h"

namespace kvasir {

/// Reads config.json and writes metadata; the first error stays.
class Mapper {
 public:
  Mapper(const JsonValue& config, FolderConfig& out, std::string architecture, const ModelLimits& limits)
      : config_(config), out_(out), architecture_(std::move(architecture)), limits_(limits) {}

  std::optional<uint64_t> integer(std::string_view key, uint64_t high = UINT32_MAX) {
    const JsonValue* value = config_.find(key);
    if (value == nullptr) return std::nullopt;
    const auto number = value->integer(0, static_cast<int64_t>(high));
    if (!number) fail("config.json: " + std::string(key) + " is not an integer from 0 to " + std::to_string(high));
    return number ? std::optional(static_cast<uint64_t>(*number)) : std::nullopt;
  }
  uint64_t required(std::string_view key, uint64_t high = UINT32_MAX) {
    if (config_.find(key) == nullptr) fail("config.json: " + std::string(key) + " is missing");
    return integer(key, high).value_or(0);
  }
  std::optional<double> number(std::string_view key) { return number_in(config_, key); }
  std::optional<double> number_in(const JsonValue& object, std::string_view key) {
    const JsonValue* value = object.find(key);
    if (value == nullptr) return std::nullopt;
    const auto n = value->number();
    if (!n) fail("config.json: " + std::string(key) + " is not a number");
    return n;
  }
  bool flag(std::string_view key, bool fallback) {
    const JsonValue* value = config_.find(key);
    if (value == nullptr) return fallback;
    const auto b = value->boolean();
    if (!b) fail("config.json: " + std::string(key) + " is not true or false");
    return b.value_or(fallback);
  }
  std::string text(std::string_view key) {
    const JsonValue* value = config_.find(key);
    return value == nullptr || value->string() == nullptr ? "" : *value->string();
  }
  /// Per layer, whether layer_types names `kind`; empty if the field is absent.
  std::vector<bool> layer_types(std::string_view kind) {
    std::vector<bool> out;
    const JsonValue* types = config_.find("layer_types");
    if (types == nullptr) return out;
    if (types->array() == nullptr) {
      fail("config.json: layer_types is not an array");
      return out;
    }
    for (const auto& type : *types->array()) out.push_back(type.string() != nullptr && *type.string() == kind);
    return out;
  }
  const JsonValue* find(std::string_view key) const { return config_.find(key); }

  void put(std::string_view key, uint64_t value) { insert(key, MetaScalar{MetaType::kU32, value}); }
  void put_real(std::string_view key, double value) {
    insert(key, MetaScalar{MetaType::kF64, std::bit_cast<uint64_t>(value)});
  }
  void put_flag(std::string_view key, bool value) { insert(key, MetaScalar{MetaType::kBool, value ? 1U : 0U}); }
  void put_text(std::string_view key, std::string value) { insert(key, std::move(value)); }
  void put_flags(std::string_view key, const std::vector<bool>& values) {
    MetaArray array;
    array.element = MetaType::kBool;
    array.count = values.size();
    for (const bool v : values) array.bytes.push_back(v ? 1 : 0);
    insert(key, std::move(array));
  }
  void put_integers(std::string_view key, const std::vector<uint32_t>& values) {
    MetaArray array;
    array.element = MetaType::kU32;
    array.count = values.size();
    for (const uint32_t v : values) array.bytes.append(reinterpret_cast<const char*>(&v), sizeof v);
    insert(key, std::move(array));
  }
  void copy(std::string_view from, std::string_view to) {
    if (const auto v = integer(from)) put(to, *v);
  }
  void copy_real(std::string_view from, std::string_view to) {
    if (const auto v = number(from)) put_real(to, *v);
  }
  void fail(std::string message, Code code = Code::kCorrupt) {
    if (!error_) error_ = Error{code, std::move(message)};
  }
  Result<void> done() {
    if (error_) return Failure(std::move(*error_));
    return {};
  }
  FolderShape& shape() { return out_.shape; }
  FolderConfig& out() { return out_; }
  const ModelLimits& limits() const { return limits_; }

 private:
  void insert(std::string_view key, MetaValue value) {
    out_.metadata.insert(architecture_ + "." + std::string(key), std::move(value));
  }
  const JsonValue& config_;
  FolderConfig& out_;
  std::string architecture_;
  const ModelLimits& limits_;
  std::optional<Error> error_;
};

}  // namespace kvasir
