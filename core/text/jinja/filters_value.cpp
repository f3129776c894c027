// Filters over single values: numbers, defaults, JSON.
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "core/text/jinja/json_input.h"
#include "core/text/jinja/library.h"
#include "core/text/jinja/literals.h"
#include "core/text/jinja/operators.h"
#include "core/text/jinja/printing.h"

namespace kvasir::jinja {
namespace {

using Slots = std::array<std::optional<Value>, 5>;

bool tainted_number(const Value& source) {
  return source.is_string() ? !source.text().all_trusted() : source.tainted();
}

Result<Value> default_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "default", {"default_value", "boolean"}, slots));
  const bool replaced = value.is_undefined() || (bool_argument(slots[1], false) && !truthy(value));
  if (!replaced) return value;
  return slots[0] ? *slots[0] : interpreter.make_string({}, true);
}

Result<Value> whole_number(double number, bool tainted) {
  const double whole = std::trunc(number);
  if (!(std::fabs(whole) < 9.2e18)) return Interpreter::error("an integer does not fit 64 bits");
  return Value::integer(static_cast<int64_t>(whole), tainted);
}

Result<Value> int_filter(Interpreter& /*interpreter*/, const Value& value, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "int", {"default", "base"}, slots));
  const Value otherwise = slots[0] ? *slots[0] : Value::integer(0);
  if (value.is_undefined()) return Interpreter::error(value.why());
  if (value.is_integral()) return Value::integer(value.as_int(), value.tainted());
  if (value.is(Kind::kFloat))
    return std::isfinite(value.as_double()) ? whole_number(value.as_double(), value.tainted())
                                            : Result<Value>(otherwise);
  if (!value.is_string()) return otherwise;
  const int64_t base = KVASIR_TRY(int_argument(slots[1], 10, "base"));
  if (base != 0 && (base < 2 || base > 36)) return otherwise;
  const bool tainted = tainted_number(value);
  if (const auto number = python_int(value.view(), static_cast<int>(base))) return Value::integer(*number, tainted);
  const auto real = python_float(value.view());
  return real && std::isfinite(*real) ? whole_number(*real, tainted) : Result<Value>(otherwise);
}

Result<Value> float_filter(Interpreter& /*interpreter*/, const Value& value, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "float", {"default"}, slots));
  if (value.is_undefined()) return Interpreter::error(value.why());
  if (value.is_number()) return Value::real(value.as_double(), value.tainted());
  const auto number = value.is_string() ? python_float(value.view()) : std::nullopt;
  if (number) return Value::real(*number, tainted_number(value));
  return slots[0] ? *slots[0] : Value::real(0.0);
}

Result<Value> abs_filter(Interpreter& /*interpreter*/, const Value& value, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "abs", {}, slots));
  if (value.is_undefined()) return Interpreter::error(value.why());
  if (!value.is_number()) return Interpreter::error(std::string("abs needs a number, not ") + type_name(value));
  if (value.is(Kind::kFloat)) return Value::real(std::fabs(value.as_double()), value.tainted());
  return value.as_int() < 0 ? negate(value) : Result<Value>(Value::integer(value.as_int(), value.tainted()));
}

/// Rounds the exact binary value, ties to even, as Python's round does.
double round_half_even(double value, int64_t precision) {
  if (!std::isfinite(value) || precision > 300) return value;
  if (precision < 0) {
    const double unit = std::pow(10.0, static_cast<double>(std::min<int64_t>(-precision, 400)));
    return std::isinf(unit) ? std::copysign(0.0, value) : std::nearbyint(value / unit) * unit;
  }
  std::array<char, 720> digits{};  // 309 digits before the point, 300 behind it
  std::snprintf(digits.data(), digits.size(), "%.*f", static_cast<int>(precision), value);
  return python_float(digits.data()).value_or(value);
}

Result<Value> round_filter(Interpreter& /*interpreter*/, const Value& value, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "round", {"precision", "method"}, slots));
  if (value.is_undefined()) return Interpreter::error(value.why());
  if (!value.is_number()) return Interpreter::error(std::string("round needs a number, not ") + type_name(value));
  const int64_t precision = KVASIR_TRY(int_argument(slots[0], 0, "precision"));
  const std::string_view method = slots[1] ? KVASIR_TRY(text_argument(slots[1], "method"))->view() : "common";
  if (method == "common") {
    if (!value.is_integral()) return Value::real(round_half_even(value.as_double(), precision), value.tainted());
    if (precision >= 0) return Value::integer(value.as_int(), value.tainted());
    return whole_number(round_half_even(value.as_double(), precision), value.tainted());
  }
  if (method != "ceil" && method != "floor") return Interpreter::error("round: method must be common, ceil or floor");
  if (precision > 300 || precision < -300) return Interpreter::error("round: precision must be between -300 and 300");
  const double unit = std::pow(10.0, static_cast<double>(precision));
  const double scaled = value.as_double() * unit;
  const double whole = method == "ceil" ? std::ceil(scaled) : std::floor(scaled);
  return Value::real((whole == 0.0 ? 0.0 : whole) / unit, value.tainted());  // Python's whole numbers have no -0
}

Result<void> read_indent(JsonStyle& style, const std::optional<Value>& indent, Budget& budget) {
  if (!indent || indent->is_none()) return {};
  if (indent->is_string()) {
    style.indent = indent->text();
  } else {
    const int64_t width = KVASIR_TRY(int_argument(indent, 0, "indent"));
    TextBuilder spaces(budget);
    KVASIR_TRY(spaces.fill(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ', true));
    style.indent = spaces.take();
  }
  style.item_separator = Text(",", true);
  return {};
}

// Hugging Face's signature: tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False).
Result<Value> tojson_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "tojson", {"ensure_ascii", "indent", "separators", "sort_keys"}, slots));
  JsonStyle style;
  style.ensure_ascii = bool_argument(slots[0], false);
  style.sort_keys = bool_argument(slots[3], false);
  KVASIR_TRY(read_indent(style, slots[1], interpreter.budget()));
  if (slots[2] && !slots[2]->is_none()) {
    const auto* const separators = KVASIR_TRY(interpreter.items_of(*slots[2]));
    if (separators->size() != 2) return Interpreter::error("tojson: separators must be two texts");
    style.item_separator = *KVASIR_TRY(text_argument((*separators)[0], "the separator of items"));
    style.key_separator = *KVASIR_TRY(text_argument((*separators)[1], "the separator of keys"));
  }
  TextBuilder out(interpreter.budget());
  KVASIR_TRY(append_json(interpreter, out, value, style));
  return interpreter.make_string(out.take());
}

/// Not Jinja's own: templates of some models expect it of their server.
Result<Value> from_json_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "from_json", {}, slots));
  if (!value.is_string()) return Interpreter::error(std::string("from_json needs a str, not ") + type_name(value));
  KVASIR_TRY(interpreter.budget().spend_items(value.text().size()));
  return read_json(interpreter.heap(), interpreter.budget(), value.view(), "the text given to from_json");
}

Result<Value> attr_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "attr", {"name"}, slots, 1));
  const Text& name = *KVASIR_TRY(text_argument(slots[0], "name"));
  if (value.is_undefined()) return Interpreter::error(value.why());
  if (const auto member = KVASIR_TRY(find_member(interpreter, value, name.view()))) return *member;
  return interpreter.heap().undefined(std::string(type_name(value)) + " object has no such attribute");
}

constexpr std::array kFilters{
    Entry<FilterFunction>{"default", default_filter}, Entry<FilterFunction>{"d", default_filter},
    Entry<FilterFunction>{"int", int_filter},         Entry<FilterFunction>{"float", float_filter},
    Entry<FilterFunction>{"abs", abs_filter},         Entry<FilterFunction>{"round", round_filter},
    Entry<FilterFunction>{"tojson", tojson_filter},   Entry<FilterFunction>{"from_json", from_json_filter},
    Entry<FilterFunction>{"attr", attr_filter},
};

}  // namespace

std::span<const Entry<FilterFunction>> value_filters() {
  return kFilters;
}

}  // namespace kvasir::jinja
