#include "core/text/jinja/operators.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/text/jinja/format.h"
#include "core/text/jinja/printing.h"
#include "core/text/jinja/unicode.h"

namespace kvasir::jinja {
namespace {

const char* symbol(Operator op) {
  switch (op) {
    case Operator::kAdd:
      return "+";
    case Operator::kSubtract:
      return "-";
    case Operator::kMultiply:
      return "*";
    case Operator::kDivide:
      return "/";
    case Operator::kFloorDivide:
      return "//";
    case Operator::kModulo:
      return "%";
    case Operator::kPower:
      return "**";
    case Operator::kLess:
      return "<";
    case Operator::kLessEqual:
      return "<=";
    case Operator::kGreater:
      return ">";
    case Operator::kGreaterEqual:
      return ">=";
    default:
      return "==";
  }
}

Failure unsupported(Operator op, const Value& a, const Value& b) {
  if (a.is_undefined()) return Interpreter::error(a.why());
  if (b.is_undefined()) return Interpreter::error(b.why());
  return Interpreter::error(std::string("cannot use '") + symbol(op) + "' between " + type_name(a) + " and " +
                            type_name(b));
}

Failure overflow() {
  return Interpreter::error("an integer does not fit 64 bits");
}

Result<bool> equal_items(Interpreter& interpreter, const std::vector<Value>& a, const std::vector<Value>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!KVASIR_TRY(equal(interpreter, a[i], b[i]))) return false;
  }
  return true;
}

Result<bool> equal_dicts(Interpreter& interpreter, const DictObject& a, const DictObject& b) {
  if (a.entries.size() != b.entries.size()) return false;
  for (const auto& [key, value] : a.entries) {
    const Value* const other = KVASIR_TRY(find_key(interpreter, b, key));
    if (other == nullptr || !KVASIR_TRY(equal(interpreter, value, *other))) return false;
  }
  return true;
}

std::optional<int> three_way(long double a, long double b) {
  if (std::isnan(a) || std::isnan(b)) return std::nullopt;
  return a < b ? -1 : a > b ? 1 : 0;
}

// 64 bits of mantissa (x86) or more: exact for every int64 and every double.
long double exact(const Value& number) {
  return number.is(Kind::kFloat) ? static_cast<long double>(number.as_double())
                                 : static_cast<long double>(number.as_int());
}

Result<Value> integer_power(int64_t base, int64_t exponent, bool tainted) {
  int64_t result = 1;
  while (exponent > 0) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) return overflow();
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) return overflow();
  }
  return Value::integer(result, tainted);
}

Result<Value> integers(Operator op, int64_t a, int64_t b, bool tainted) {
  int64_t result = 0;
  bool overflowed = false;
  switch (op) {
    case Operator::kAdd:
      overflowed = __builtin_add_overflow(a, b, &result);
      break;
    case Operator::kSubtract:
      overflowed = __builtin_sub_overflow(a, b, &result);
      break;
    case Operator::kMultiply:
      overflowed = __builtin_mul_overflow(a, b, &result);
      break;
    case Operator::kFloorDivide:
    case Operator::kModulo: {
      if (b == 0) return Interpreter::error("division by zero");
      if (b == -1) {  // the one quotient that overflows is by -1
        if (op == Operator::kModulo) return Value::integer(0, tainted);
        overflowed = __builtin_sub_overflow(int64_t{0}, a, &result);
        break;
      }
      const int64_t quotient = a / b;
      const int64_t remainder = a % b;
      const bool down = remainder != 0 && ((remainder < 0) != (b < 0));  // Python rounds down, C towards zero
      result = op == Operator::kFloorDivide ? quotient - (down ? 1 : 0) : remainder + (down ? b : 0);
      break;
    }
    default:
      return integer_power(a, b, tainted);
  }
  if (overflowed) return overflow();
  return Value::integer(result, tainted);
}

Result<Value> reals(Operator op, double a, double b, bool tainted) {
  switch (op) {
    case Operator::kAdd:
      return Value::real(a + b, tainted);
    case Operator::kSubtract:
      return Value::real(a - b, tainted);
    case Operator::kMultiply:
      return Value::real(a * b, tainted);
    case Operator::kPower: {
      if (a == 0.0 && b < 0.0) return Interpreter::error("0 cannot be raised to a negative power");
      const double result = std::pow(a, b);
      if (std::isnan(result) && !std::isnan(a) && !std::isnan(b))
        return Interpreter::error("a power of a negative number has no real value");
      if (std::isinf(result) && !std::isinf(a) && !std::isinf(b))
        return Interpreter::error("the result of ** is too large");
      return Value::real(result, tainted);
    }
    default:
      break;
  }
  if (b == 0.0) return Interpreter::error("division by zero");
  if (op == Operator::kDivide) return Value::real(a / b, tainted);
  double remainder = std::fmod(a, b);
  double quotient = (a - remainder) / b;
  if (remainder != 0.0) {
    if ((b < 0.0) != (remainder < 0.0)) {
      remainder += b;
      quotient -= 1.0;
    }
  } else {
    remainder = std::copysign(0.0, b);
  }
  if (op == Operator::kModulo) return Value::real(remainder, tainted);
  if (quotient == 0.0) return Value::real(std::copysign(0.0, a / b), tainted);
  double floored = std::floor(quotient);
  if (quotient - floored > 0.5) floored += 1.0;
  return Value::real(floored, tainted);
}

Result<Value> numbers(Operator op, const Value& a, const Value& b) {
  const bool tainted = a.tainted() || b.tainted();
  const bool whole = a.is_integral() && b.is_integral();
  if (whole && op != Operator::kDivide && !(op == Operator::kPower && b.as_int() < 0)) {
    return integers(op, a.as_int(), b.as_int(), tainted);
  }
  return reals(op, a.as_double(), b.as_double(), tainted);
}

Result<Value> repeat_string(Interpreter& interpreter, const Text& text, int64_t times) {
  if (times <= 0 || text.empty()) return interpreter.make_string({}, true);
  size_t total = 0;
  if (__builtin_mul_overflow(text.weight(), static_cast<size_t>(times), &total))
    total = std::numeric_limits<size_t>::max();
  KVASIR_TRY(interpreter.budget().spend_bytes(total));
  Text out;
  for (int64_t i = 0; i < times; ++i) out.append(text);
  return interpreter.heap().adopt_string(std::move(out));
}

Result<Value> repeat_list(Interpreter& interpreter, const Value& list, int64_t times) {
  const auto& items = list.items();
  std::vector<Value> out;
  if (times > 0 && !items.empty()) {
    size_t total = 0;
    if (__builtin_mul_overflow(items.size(), static_cast<size_t>(times), &total))
      total = std::numeric_limits<size_t>::max() / 2;
    KVASIR_TRY(interpreter.budget().spend_items(total));
    out.reserve(total);
    for (int64_t i = 0; i < times; ++i) out.insert(out.end(), items.begin(), items.end());
  }
  return interpreter.heap().adopt_list(list.kind(), ListObject{std::move(out), list.tainted(), ListView::kPlain});
}

Result<Value> join_lists(Interpreter& interpreter, const Value& a, const Value& b) {
  KVASIR_TRY(interpreter.budget().spend_items(a.items().size() + b.items().size()));
  std::vector<Value> out;
  out.reserve(a.items().size() + b.items().size());
  out.insert(out.end(), a.items().begin(), a.items().end());
  out.insert(out.end(), b.items().begin(), b.items().end());
  return interpreter.heap().adopt_list(a.kind(),
                                       ListObject{std::move(out), a.tainted() || b.tainted(), ListView::kPlain});
}

}  // namespace

size_t find_bytes(std::string_view haystack, std::string_view needle, size_t from) {
  if (from > haystack.size()) return std::string_view::npos;
  if (needle.empty()) return from;
  // glibc's memmem is two-way: linear for every input, which std::search and string_view::find are not.
  const void* const found = memmem(haystack.data() + from, haystack.size() - from, needle.data(), needle.size());
  if (found == nullptr) return std::string_view::npos;
  return static_cast<size_t>(static_cast<const char*>(found) - haystack.data());
}

Result<bool> equal(Interpreter& interpreter, const Value& a, const Value& b) {
  KVASIR_TRY(interpreter.budget().spend(1));
  if (a.is_number() && b.is_number()) return exact(a) == exact(b);
  if (a.kind() != b.kind()) return false;
  if (a.is_string()) {
    if (a.view().size() != b.view().size()) return false;
    KVASIR_TRY(interpreter.budget().spend(a.view().size() / 64));
    return a.view() == b.view();
  }
  if (!a.is_sequence() && !a.is(Kind::kDict)) return a.same_as(b);
  if (a.address() == b.address()) return true;
  const Descent descent(interpreter.value_depth());
  KVASIR_TRY(descent.at_most(interpreter.max_value_depth(), "a compared value"));
  return a.is_sequence() ? equal_items(interpreter, a.items(), b.items())
                         : equal_dicts(interpreter, a.dict(), b.dict());
}

Result<std::optional<int>> order(Interpreter& interpreter, const Value& a, const Value& b) {
  KVASIR_TRY(interpreter.budget().spend(1));
  if (a.is_number() && b.is_number()) return three_way(exact(a), exact(b));
  if (a.is_string() && b.is_string()) {
    KVASIR_TRY(interpreter.budget().spend(std::min(a.view().size(), b.view().size()) / 64));
    const int result = a.view().compare(b.view());  // byte order of UTF-8 is code point order
    return std::optional<int>(result < 0 ? -1 : result > 0 ? 1 : 0);
  }
  if (!a.is_sequence() || a.kind() != b.kind()) return unsupported(Operator::kLess, a, b);
  const Descent descent(interpreter.value_depth());
  KVASIR_TRY(descent.at_most(interpreter.max_value_depth(), "a compared value"));
  const size_t common = std::min(a.items().size(), b.items().size());
  for (size_t i = 0; i < common; ++i) {
    if (KVASIR_TRY(equal(interpreter, a.items()[i], b.items()[i]))) continue;
    return order(interpreter, a.items()[i], b.items()[i]);
  }
  return three_way(static_cast<long double>(a.items().size()), static_cast<long double>(b.items().size()));
}

Result<bool> compare(Interpreter& interpreter, Operator op, const Value& a, const Value& b) {
  if (op == Operator::kEqual) return equal(interpreter, a, b);
  if (op == Operator::kNotEqual) return !KVASIR_TRY(equal(interpreter, a, b));
  if (op == Operator::kIn) return contains(interpreter, b, a);
  if (op == Operator::kNotIn) return !KVASIR_TRY(contains(interpreter, b, a));
  if (a.is_undefined() || b.is_undefined()) return unsupported(op, a, b);
  const auto result = KVASIR_TRY(order(interpreter, a, b));
  if (!result) return false;
  switch (op) {
    case Operator::kLess:
      return *result < 0;
    case Operator::kLessEqual:
      return *result <= 0;
    case Operator::kGreater:
      return *result > 0;
    default:
      return *result >= 0;
  }
}

Result<bool> contains(Interpreter& interpreter, const Value& container, const Value& item) {
  switch (container.kind()) {
    case Kind::kString:
      if (!item.is_string())
        return Interpreter::error(std::string("'in' with a str on the right needs a str on the left, not ") +
                                  type_name(item));
      KVASIR_TRY(interpreter.budget().spend((container.view().size() + item.view().size()) / 64));
      return find_bytes(container.view(), item.view()) != std::string_view::npos;
    case Kind::kDict:
      return KVASIR_TRY(find_key(interpreter, container.dict(), item)) != nullptr;
    default: {
      const auto* const items = KVASIR_TRY(interpreter.items_of(container));
      for (const auto& candidate : *items) {
        if (KVASIR_TRY(equal(interpreter, candidate, item))) return true;
      }
      return false;
    }
  }
}

Result<Value> arithmetic(Interpreter& interpreter, Operator op, const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) return numbers(op, a, b);
  if (op == Operator::kAdd) {
    if (a.is_string() && b.is_string()) {
      KVASIR_TRY(interpreter.budget().spend_bytes(a.text().weight() + b.text().weight()));
      Text out = a.text();
      out.append(b.text());
      return interpreter.heap().adopt_string(std::move(out));
    }
    if (a.is_sequence() && a.kind() == b.kind()) return join_lists(interpreter, a, b);
  }
  if (op == Operator::kMultiply) {
    const auto& repeated = a.is_integral() ? b : a;
    const auto& times = a.is_integral() ? a : b;
    if (times.is_integral() && repeated.is_string()) return repeat_string(interpreter, repeated.text(), times.as_int());
    if (times.is_integral() && repeated.is_sequence()) return repeat_list(interpreter, repeated, times.as_int());
  }
  if (op == Operator::kModulo && a.is_string()) return format_percent(interpreter, a.text(), b);
  return unsupported(op, a, b);
}

Result<Value> negate(const Value& value) {
  if (value.is(Kind::kFloat)) return Value::real(-value.as_double(), value.tainted());
  if (value.is_undefined()) return Interpreter::error(value.why());
  if (!value.is_integral()) return Interpreter::error(std::string("cannot use '-' on ") + type_name(value));
  int64_t result = 0;
  if (__builtin_sub_overflow(int64_t{0}, value.as_int(), &result)) return overflow();
  return Value::integer(result, value.tainted());
}

Result<const Value*> find_key(Interpreter& interpreter, const DictObject& dict, const Value& key) {
  if (key.is_string()) return dict.find(key.view());
  if (key.is(Kind::kList) || key.is(Kind::kDict)) {
    return Interpreter::error(std::string("a ") + type_name(key) + " cannot be a key of a dict");
  }
  if (dict.by_string.size() == dict.entries.size()) return nullptr;  // string keys only
  for (const auto& [candidate, value] : dict.entries) {
    if (KVASIR_TRY(equal(interpreter, candidate, key))) return &value;
  }
  return nullptr;
}

Result<void> set_key(Interpreter& interpreter, DictObject& dict, const Value& key, const Value& value) {
  KVASIR_TRY(interpreter.budget().spend_items(2));
  if (key.is_string()) {
    dict.set(key, value);
    return {};
  }
  const Value* const old = KVASIR_TRY(find_key(interpreter, dict, key));
  if (old == nullptr) {
    dict.entries.emplace_back(key, value);
    return {};
  }
  for (auto& [candidate, slot] : dict.entries) {
    if (&slot == old) slot = value;
  }
  return {};
}

}  // namespace kvasir::jinja
