// Jinja's tests: `value is name`.
#include <array>
#include <cmath>

#include "core/text/jinja/library.h"
#include "core/text/jinja/operators.h"
#include "core/text/jinja/printing.h"
#include "core/text/jinja/unicode.h"

namespace kvasir::jinja {
namespace {

using Slots = std::array<std::optional<Value>, 2>;

Result<void> no_arguments(const Arguments& arguments) {
  Slots slots;
  return bind(arguments, "this test", {}, slots);
}

Result<Value> one_argument(const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "this test", {"other"}, slots, 1));
  return *slots[0];
}

bool defined(const Value& v) {
  return !v.is_undefined();
}
bool undefined(const Value& v) {
  return v.is_undefined();
}
bool none(const Value& v) {
  return v.is_none();
}
bool boolean(const Value& v) {
  return v.is(Kind::kBool);
}
bool is_true(const Value& v) {
  return v.is(Kind::kBool) && v.as_bool();
}
bool is_false(const Value& v) {
  return v.is(Kind::kBool) && !v.as_bool();
}
bool integer(const Value& v) {
  return v.is(Kind::kInt);
}
bool real(const Value& v) {
  return v.is(Kind::kFloat);
}
bool number(const Value& v) {
  return v.is_number();
}
bool string(const Value& v) {
  return v.is_string();
}
bool mapping(const Value& v) {
  return v.is(Kind::kDict);
}
bool sequence(const Value& v) {
  return v.is_sequence() || v.is_string() || v.is(Kind::kDict) || v.is_undefined();
}
bool callable(const Value& v) {
  return v.is(Kind::kMacro) || v.is(Kind::kNative) || v.is(Kind::kLoop) || v.is_undefined() ||
         (v.is(Kind::kCycle) && v.cycle().joiner);
}
bool never(const Value& /*v*/) {
  return false;
}

template <bool (*kTest)(const Value&)>
Result<bool> simple(Interpreter& /*interpreter*/, const Value& value, const Arguments& arguments) {
  KVASIR_TRY(no_arguments(arguments));
  return kTest(value);
}

template <Operator kOperator>
Result<bool> compared(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Value other = KVASIR_TRY(one_argument(arguments));
  return compare(interpreter, kOperator, value, other);
}

Result<bool> remainder_is(Interpreter& interpreter, const Value& value, const Value& divisor, int64_t wanted) {
  const Value remainder = KVASIR_TRY(arithmetic(interpreter, Operator::kModulo, value, divisor));
  return equal(interpreter, remainder, Value::integer(wanted));
}

template <int64_t kRemainder>
Result<bool> parity(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  KVASIR_TRY(no_arguments(arguments));
  return remainder_is(interpreter, value, Value::integer(2), kRemainder);
}

Result<bool> divisible_by(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "divisibleby", {"num"}, slots, 1));
  return remainder_is(interpreter, value, *slots[0], 0);
}

Result<bool> same_as(Interpreter& /*interpreter*/, const Value& value, const Arguments& arguments) {
  return value.same_as(KVASIR_TRY(one_argument(arguments)));
}

template <bool kUpper>
Result<bool> cased(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  KVASIR_TRY(no_arguments(arguments));
  const Text text = KVASIR_TRY(to_text(interpreter, value));
  bool any = false;
  for (size_t i = 0; i < text.size();) {
    const char32_t c = next_code_point(text.view(), i);
    if (kUpper ? is_lower(c) : is_upper(c)) return false;
    any = any || (kUpper ? is_upper(c) : is_lower(c));
  }
  return any;
}

Result<bool> iterable(Interpreter& /*interpreter*/, const Value& value, const Arguments& arguments) {
  KVASIR_TRY(no_arguments(arguments));
  return sequence(value);
}

Result<bool> is_filter(Interpreter& /*interpreter*/, const Value& value, const Arguments& arguments) {
  KVASIR_TRY(no_arguments(arguments));
  return value.is_string() && find_filter(value.view()) != nullptr;
}

Result<bool> is_test(Interpreter& /*interpreter*/, const Value& value, const Arguments& arguments) {
  KVASIR_TRY(no_arguments(arguments));
  return value.is_string() && find_test(value.view()) != nullptr;
}

constexpr std::array kTests{
    Entry<TestFunction>{"defined", simple<defined>},
    Entry<TestFunction>{"undefined", simple<undefined>},
    Entry<TestFunction>{"none", simple<none>},
    Entry<TestFunction>{"string", simple<string>},
    Entry<TestFunction>{"mapping", simple<mapping>},
    Entry<TestFunction>{"iterable", iterable},
    Entry<TestFunction>{"sequence", simple<sequence>},
    Entry<TestFunction>{"number", simple<number>},
    Entry<TestFunction>{"integer", simple<integer>},
    Entry<TestFunction>{"float", simple<real>},
    Entry<TestFunction>{"boolean", simple<boolean>},
    Entry<TestFunction>{"true", simple<is_true>},
    Entry<TestFunction>{"false", simple<is_false>},
    Entry<TestFunction>{"callable", simple<callable>},
    Entry<TestFunction>{"escaped", simple<never>},
    Entry<TestFunction>{"equalto", compared<Operator::kEqual>},
    Entry<TestFunction>{"eq", compared<Operator::kEqual>},
    Entry<TestFunction>{"==", compared<Operator::kEqual>},
    Entry<TestFunction>{"ne", compared<Operator::kNotEqual>},
    Entry<TestFunction>{"!=", compared<Operator::kNotEqual>},
    Entry<TestFunction>{"lt", compared<Operator::kLess>},
    Entry<TestFunction>{"lessthan", compared<Operator::kLess>},
    Entry<TestFunction>{"<", compared<Operator::kLess>},
    Entry<TestFunction>{"le", compared<Operator::kLessEqual>},
    Entry<TestFunction>{"<=", compared<Operator::kLessEqual>},
    Entry<TestFunction>{"gt", compared<Operator::kGreater>},
    Entry<TestFunction>{"greaterthan", compared<Operator::kGreater>},
    Entry<TestFunction>{">", compared<Operator::kGreater>},
    Entry<TestFunction>{"ge", compared<Operator::kGreaterEqual>},
    Entry<TestFunction>{">=", compared<Operator::kGreaterEqual>},
    Entry<TestFunction>{"in", compared<Operator::kIn>},
    Entry<TestFunction>{"sameas", same_as},
    Entry<TestFunction>{"odd", parity<1>},
    Entry<TestFunction>{"even", parity<0>},
    Entry<TestFunction>{"divisibleby", divisible_by},
    Entry<TestFunction>{"lower", cased<false>},
    Entry<TestFunction>{"upper", cased<true>},
    Entry<TestFunction>{"filter", is_filter},
    Entry<TestFunction>{"test", is_test},
};

}  // namespace

TestFunction find_test(std::string_view name) {
  for (const auto& entry : kTests) {
    if (entry.name == name) return entry.function;
  }
  return nullptr;
}

}  // namespace kvasir::jinja
