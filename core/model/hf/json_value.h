// JSON from model folders (config.json, safetensors headers, index.json) as a small checked tree. Parsing is bounded in
// depth and values, refuses duplicate keys, and never throws. Immutable; thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/base/result.h"

namespace kvasir {

struct JsonLimits {
  size_t max_bytes = 16u << 20;
  uint32_t max_depth = 32;
  uint64_t max_values = 4'000'000;
};

class JsonValue {
 public:
  using Array = std::vector<JsonValue>;
  using Object = std::vector<std::pair<std::string, JsonValue>>;  ///< in file order
  using Data = std::variant<std::monostate, bool, int64_t, uint64_t, double, std::string, Array, Object>;

  JsonValue() = default;
  explicit JsonValue(Data data) : data_(std::move(data)) {}

  /// Errors: kCorrupt ("not JSON: ... at byte N", a duplicate key), kTooLarge (the limit's name). Infinity and NaN
  /// literals, which transformers writes for some fields, are refused.
  static Result<JsonValue> parse(std::string_view text, const JsonLimits& limits = {});

  bool is_null() const noexcept { return data_.index() == 0; }
  const std::string* string() const noexcept { return std::get_if<std::string>(&data_); }
  const Array* array() const noexcept { return std::get_if<Array>(&data_); }
  const Object* object() const noexcept { return std::get_if<Object>(&data_); }
  std::optional<bool> boolean() const noexcept;
  /// An integer in [low, high]; numbers like 3.0 are not integers.
  std::optional<int64_t> integer(int64_t low, int64_t high) const noexcept;
  std::optional<double> number() const noexcept;
  /// A member of an object that is there and not null.
  const JsonValue* find(std::string_view key) const noexcept;
  Data& data() noexcept { return data_; }

 private:
  Data data_;
};

}  // namespace kvasir
