// What templates can name: filters, tests, global functions, and the methods and attributes of values. Tables by name;
// each entry is one function in filters_*.cpp, tests.cpp, functions.cpp, methods.cpp. Stateless.
#pragma once

#include <array>
#include <initializer_list>
#include <optional>
#include <span>
#include <string_view>

#include "core/text/jinja/interpreter.h"

namespace kvasir::jinja {

using FilterFunction = Result<Value> (*)(Interpreter&, const Value& value, const Arguments&);
using TestFunction = Result<bool> (*)(Interpreter&, const Value& value, const Arguments&);

template <class Function>
struct Entry {
  std::string_view name;
  Function function;
};

/// Null if there is none of that name.
FilterFunction find_filter(std::string_view name);
TestFunction find_test(std::string_view name);
/// raise_exception, strftime_now, namespace, range, dict, cycler, joiner.
std::span<const Entry<NativeFunction>> global_functions();
/// A method or attribute of `object`; nothing if it has none of that name.
Result<std::optional<Value>> find_member(Interpreter& interpreter, const Value& object, std::string_view name);

// Tables of the parts.
std::span<const Entry<FilterFunction>> text_filters();
std::span<const Entry<FilterFunction>> sequence_filters();
std::span<const Entry<FilterFunction>> value_filters();
std::span<const Entry<NativeFunction>> string_methods();

/// Arguments by position or name, as in a Python call. `out` has one slot per name.
Result<void> bind(const Arguments& arguments, std::string_view who, std::initializer_list<std::string_view> names,
                  std::span<std::optional<Value>> out, size_t required = 0);

/// Checked reading of bound arguments.
Result<int64_t> int_argument(const std::optional<Value>& value, int64_t when_absent, std::string_view what);
bool bool_argument(const std::optional<Value>& value, bool when_absent);
Result<const Text*> text_argument(const std::optional<Value>& value, std::string_view what);

/// The attribute path of filters such as map(attribute='a.b.0').
Result<Value> attribute_path(Interpreter& interpreter, Value value, const Value& path);
Result<Value> lower_if_string(Interpreter& interpreter, const Value& value);

// Text operations shared by filters and methods.
enum class Case : uint8_t { kUpper, kLower, kCapitalize, kTitle, kSwap };
Result<Value> change_case(Interpreter& interpreter, const Text& text, Case to);
enum class Side : uint8_t { kLeft, kRight, kBoth };
/// `characters` null: white space.
Result<Value> strip_text(Interpreter& interpreter, const Text& text, const Text* characters, Side side);
Result<Value> replace_text(Interpreter& interpreter, const Text& text, const Text& from, const Text& to, int64_t count);
Result<Value> join_texts(Interpreter& interpreter, const Text& separator, const std::vector<Value>& items);
Result<Value> center_text(Interpreter& interpreter, const Text& text, int64_t width);
/// Byte ranges of the lines, without their ends.
std::vector<std::pair<size_t, size_t>> line_ranges(std::string_view text);

}  // namespace kvasir::jinja
