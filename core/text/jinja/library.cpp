#include "core/text/jinja/library.h"

#include <algorithm>

#include "core/text/jinja/literals.h"

namespace kvasir::jinja {

FilterFunction find_filter(std::string_view name) {
  for (const auto table : {text_filters(), sequence_filters(), value_filters()}) {
    for (const auto& entry : table) {
      if (entry.name == name) return entry.function;
    }
  }
  return nullptr;
}

Result<void> bind(const Arguments& arguments, std::string_view who, std::initializer_list<std::string_view> names,
                  std::span<std::optional<Value>> out, size_t required) {
  if (arguments.positional.size() > names.size()) {
    return Interpreter::error(std::string(who) + " takes at most " + std::to_string(names.size()) + " arguments, got " +
                              std::to_string(arguments.positional.size()));
  }
  for (size_t i = 0; i < arguments.positional.size(); ++i) out[i] = arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    const auto* const it = std::find(names.begin(), names.end(), name);
    if (it == names.end())
      return Interpreter::error(std::string(who) + " has no argument '" + std::string(name.substr(0, 80)) + "'");
    auto& slot = out[static_cast<size_t>(it - names.begin())];
    if (slot) return Interpreter::error(std::string(who) + " got two values for '" + std::string(name) + "'");
    slot = value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (!out[i])
      return Interpreter::error(std::string(who) + " needs the argument '" + std::string(names.begin()[i]) + "'");
  }
  return {};
}

Result<int64_t> int_argument(const std::optional<Value>& value, int64_t when_absent, std::string_view what) {
  if (!value) return when_absent;
  if (value->is_undefined()) return Interpreter::error(value->why());
  if (!value->is_integral())
    return Interpreter::error(std::string(what) + " must be an integer, not " + type_name(*value));
  return value->as_int();
}

bool bool_argument(const std::optional<Value>& value, bool when_absent) {
  return value ? truthy(*value) : when_absent;
}

Result<const Text*> text_argument(const std::optional<Value>& value, std::string_view what) {
  if (!value) return Interpreter::error(std::string(what) + " is missing");
  if (value->is_undefined()) return Interpreter::error(value->why());
  if (!value->is_string()) return Interpreter::error(std::string(what) + " must be a str, not " + type_name(*value));
  return &value->text();
}

Result<Value> attribute_path(Interpreter& interpreter, Value value, const Value& path) {
  if (!path.is_string()) return interpreter.item(value, path);
  const auto names = path.view();
  for (size_t begin = 0; begin <= names.size();) {
    KVASIR_TRY(interpreter.budget().spend(1));
    const size_t end = std::min(names.find('.', begin), names.size());
    const auto name = names.substr(begin, end - begin);
    const bool digits =
        !name.empty() && std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; });
    const auto index = digits ? python_int(name, 10) : std::nullopt;
    const Value key = index ? Value::integer(*index) : KVASIR_TRY(interpreter.make_string(std::string(name), true));
    value = KVASIR_TRY(interpreter.item(value, key));
    begin = end + 1;
  }
  return value;
}

Result<Value> lower_if_string(Interpreter& interpreter, const Value& value) {
  return value.is_string() ? change_case(interpreter, value.text(), Case::kLower) : Result<Value>(value);
}

}  // namespace kvasir::jinja
