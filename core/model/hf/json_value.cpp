#include "core/model/hf/json_value.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <unordered_set>

namespace kvasir {
namespace {

/// Builds the tree from SAX events, so that limits hold before anything grows.
class TreeBuilder : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit TreeBuilder(const JsonLimits& limits) : limits_(limits) {}

  bool null() override { return add(JsonValue()); }
  bool boolean(bool value) override { return add(JsonValue(value)); }
  bool number_integer(int64_t value) override { return add(JsonValue(value)); }
  bool number_unsigned(uint64_t value) override { return add(JsonValue(value)); }
  bool number_float(double value, const std::string&) override {
    return std::isfinite(value) ? add(JsonValue(value)) : fail(Code::kCorrupt, "a number that is too large");
  }
  bool string(std::string& value) override { return add(JsonValue(std::move(value))); }
  bool binary(binary_t&) override { return false; }
  bool start_object(size_t) override { return open(JsonValue(JsonValue::Object{})); }
  bool start_array(size_t) override { return open(JsonValue(JsonValue::Array{})); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(std::string& name) override {
    if (!keys_.back().insert(name).second) return fail(Code::kCorrupt, "duplicate key \"" + name.substr(0, 64) + "\"");
    pending_key_ = std::move(name);
    return true;
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception&) override {
    return fail(Code::kCorrupt, "not JSON: unexpected text at byte " + std::to_string(position));
  }

  Result<JsonValue> take() {
    if (error_) return Failure(std::move(*error_));
    return std::move(root_);
  }

 private:
  bool fail(Code code, std::string message) {
    if (!error_) error_ = Error{code, std::move(message)};
    return false;
  }
  /// Puts a value where it belongs and returns its place in the tree.
  JsonValue* place(JsonValue value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    auto& parent = open_.back()->data();
    if (auto* array = std::get_if<JsonValue::Array>(&parent)) {
      array->push_back(std::move(value));
      return &array->back();
    }
    auto& object = std::get<JsonValue::Object>(parent);
    object.emplace_back(std::move(pending_key_), std::move(value));
    return &object.back().second;
  }
  bool add(JsonValue value) {
    if (++values_ > limits_.max_values)
      return fail(Code::kTooLarge, "more than " + std::to_string(limits_.max_values) + " JSON values");
    place(std::move(value));
    return true;
  }
  bool open(JsonValue value) {
    if (open_.size() >= limits_.max_depth)
      return fail(Code::kTooLarge, "JSON nested deeper than " + std::to_string(limits_.max_depth));
    if (++values_ > limits_.max_values)
      return fail(Code::kTooLarge, "more than " + std::to_string(limits_.max_values) + " JSON values");
    open_.push_back(place(std::move(value)));
    keys_.emplace_back();
    return true;
  }
  bool close() {
    open_.pop_back();
    keys_.pop_back();
    return true;
  }

  JsonLimits limits_;
  JsonValue root_;
  // A parent's container does not grow while one of its children is open, so these pointers stay good.
  std::vector<JsonValue*> open_;
  std::vector<std::unordered_set<std::string>> keys_;
  std::string pending_key_;
  uint64_t values_ = 0;
  std::optional<Error> error_;
};

}  // namespace

Result<JsonValue> JsonValue::parse(std::string_view text, const JsonLimits& limits) {
  if (text.size() > limits.max_bytes)
    return Failure(Code::kTooLarge, "JSON of more than " + std::to_string(limits.max_bytes) + " bytes");
  // nlohmann's parser stops at a NUL as if the text ended there.
  if (const auto nul = text.find('\0'); nul != std::string_view::npos) {
    return Failure(Code::kCorrupt, "not JSON: NUL at byte " + std::to_string(nul));
  }
  TreeBuilder builder(limits);
  try {
    nlohmann::json::sax_parse(text.begin(), text.end(), &builder);
  } catch (const nlohmann::json::exception&) {
    return Failure(Code::kCorrupt, "not JSON: a number that cannot be held");
  }
  return builder.take();
}

std::optional<bool> JsonValue::boolean() const noexcept {
  const auto* value = std::get_if<bool>(&data_);
  return value == nullptr ? std::nullopt : std::optional(*value);
}

std::optional<int64_t> JsonValue::integer(int64_t low, int64_t high) const noexcept {
  if (const auto* value = std::get_if<int64_t>(&data_)) {
    return *value >= low && *value <= high ? std::optional(*value) : std::nullopt;
  }
  if (const auto* value = std::get_if<uint64_t>(&data_)) {
    if (*value > static_cast<uint64_t>(INT64_MAX)) return std::nullopt;
    const auto number = static_cast<int64_t>(*value);
    return number >= low && number <= high ? std::optional(number) : std::nullopt;
  }
  return std::nullopt;
}

std::optional<double> JsonValue::number() const noexcept {
  if (const auto* value = std::get_if<double>(&data_)) return *value;
  if (const auto* value = std::get_if<int64_t>(&data_)) return static_cast<double>(*value);
  if (const auto* value = std::get_if<uint64_t>(&data_)) return static_cast<double>(*value);
  return std::nullopt;
}

const JsonValue* JsonValue::find(std::string_view key) const noexcept {
  const Object* members = object();
  if (members == nullptr) return nullptr;
  for (const auto& [name, value] : *members) {
    if (name == key) return value.is_null() ? nullptr : &value;
  }
  return nullptr;
}

}  // namespace kvasir
