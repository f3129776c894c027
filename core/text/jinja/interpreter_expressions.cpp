#include <algorithm>

#include "core/text/jinja/interpreter.h"
#include "core/text/jinja/library.h"
#include "core/text/jinja/operators.h"
#include "core/text/jinja/printing.h"
#include "core/text/jinja/unicode.h"

namespace kvasir::jinja {
namespace {

std::string no_attribute(const Value& object, std::string_view name) {
  return quoted(std::string(type_name(object)) + " object") + " has no attribute " + quoted(name);
}

}  // namespace
Result<Value> Interpreter::evaluate(const Expression& expression, Scope* scope) {
  const Descent descent(frames_);
  KVASIR_TRY(check_frames(descent));
  KVASIR_TRY(budget_.spend(1));
  line_ = expression.line;
  switch (expression.kind) {
    case ExpressionKind::kConstant:
      return static_cast<const ConstantExpression&>(expression).value;
    case ExpressionKind::kName:
      return lookup(static_cast<const NameExpression&>(expression).name, scope);
    case ExpressionKind::kList:
    case ExpressionKind::kTuple:
      return evaluate_items(static_cast<const ItemsExpression&>(expression), scope);
    case ExpressionKind::kDict:
      return evaluate_dict(static_cast<const ItemsExpression&>(expression), scope);
    case ExpressionKind::kAnd:
    case ExpressionKind::kOr:
    case ExpressionKind::kNot:
    case ExpressionKind::kNegate:
    case ExpressionKind::kPlus:
      return evaluate_logic(static_cast<const ItemsExpression&>(expression), scope);
    case ExpressionKind::kConcat:
      return evaluate_concat(static_cast<const ItemsExpression&>(expression), scope);
    case ExpressionKind::kMath:
      return evaluate_math(static_cast<const OperatorExpression&>(expression), scope);
    case ExpressionKind::kCompare:
      return evaluate_comparison(static_cast<const OperatorExpression&>(expression), scope);
    case ExpressionKind::kConditional:
      return evaluate_conditional(static_cast<const ItemsExpression&>(expression), scope);
    case ExpressionKind::kChain: {
      const auto& chain = static_cast<const ChainExpression&>(expression);
      return follow(chain.links, KVASIR_TRY(evaluate(*chain.base, scope)), scope);
    }
  }
  return error("unknown expression");
}

Result<Value> Interpreter::lookup(NameId name, Scope* scope) {
  for (; scope != nullptr; scope = scope->parent) {
    KVASIR_TRY(budget_.spend(scope->variables.size() / 16));
    if (const Value* const found = scope->find_here(name)) return *found;
  }
  if (top_[name]) return *top_[name];
  if (input_[name]) return *input_[name];
  return heap_.undefined(quoted(template_.names.name(name)) + " is undefined");
}

Result<Value> Interpreter::evaluate_items(const ItemsExpression& expression, Scope* scope) {
  std::vector<Value> items;
  items.reserve(expression.items.size());
  for (const auto& item : expression.items) items.push_back(KVASIR_TRY(evaluate(*item, scope)));
  return expression.kind == ExpressionKind::kList ? make_list(std::move(items)) : make_tuple(std::move(items));
}

Result<Value> Interpreter::evaluate_dict(const ItemsExpression& expression, Scope* scope) {
  DictObject& dict = heap_.new_dict();
  for (size_t i = 0; i + 1 < expression.items.size(); i += 2) {
    const Value key = KVASIR_TRY(evaluate(*expression.items[i], scope));
    const Value value = KVASIR_TRY(evaluate(*expression.items[i + 1], scope));
    KVASIR_TRY(set_key(*this, dict, key, value));
  }
  return Value(&dict);
}

Result<Value> Interpreter::evaluate_logic(const ItemsExpression& expression, Scope* scope) {
  const Value first = KVASIR_TRY(evaluate(*expression.items.front(), scope));
  switch (expression.kind) {
    case ExpressionKind::kNot:
      return Value::boolean(!truthy(first));
    case ExpressionKind::kNegate:
      return negate(first);
    case ExpressionKind::kPlus:
      if (first.is_undefined()) return error(first.why());
      if (!first.is_number()) return error(std::string("cannot use '+' on ") + type_name(first));
      return first.is(Kind::kBool) ? Value::integer(first.as_int(), first.tainted()) : first;
    default:
      break;
  }
  const bool stop_at = expression.kind == ExpressionKind::kOr;
  Value value = first;
  for (size_t i = 1; i < expression.items.size() && truthy(value) != stop_at; ++i) {
    value = KVASIR_TRY(evaluate(*expression.items[i], scope));
  }
  return value;
}

Result<Value> Interpreter::evaluate_concat(const ItemsExpression& expression, Scope* scope) {
  TextBuilder out(budget_);
  for (const auto& item : expression.items) {
    const Value value = KVASIR_TRY(evaluate(*item, scope));
    KVASIR_TRY(append_str(*this, out, value));
  }
  return make_string(out.take());
}

Result<Value> Interpreter::evaluate_math(const OperatorExpression& expression, Scope* scope) {
  Value value = KVASIR_TRY(evaluate(*expression.first, scope));
  for (const auto& [op, operand] : expression.rest) {
    const Value right = KVASIR_TRY(evaluate(*operand, scope));
    value = KVASIR_TRY(arithmetic(*this, op, value, right));
  }
  return value;
}

Result<Value> Interpreter::evaluate_comparison(const OperatorExpression& expression, Scope* scope) {
  Value left = KVASIR_TRY(evaluate(*expression.first, scope));
  for (const auto& [op, operand] : expression.rest) {
    const Value right = KVASIR_TRY(evaluate(*operand, scope));
    if (!KVASIR_TRY(compare(*this, op, left, right))) return Value::boolean(false);
    left = right;
  }
  return Value::boolean(true);
}

Result<Value> Interpreter::evaluate_conditional(const ItemsExpression& expression, Scope* scope) {
  const auto& items = expression.items;
  if (truthy(KVASIR_TRY(evaluate(*items[0], scope)))) return evaluate(*items[1], scope);
  if (items.size() > 2) return evaluate(*items[2], scope);
  return heap_.undefined("the condition of an inline if was false and it has no else");
}

Result<Value> Interpreter::follow(const std::vector<Link>& links, Value value, Scope* scope) {
  for (const auto& link : links) {
    KVASIR_TRY(budget_.spend(1));
    value = KVASIR_TRY(follow_one(link, value, scope));
  }
  return value;
}

Result<Value> Interpreter::follow_one(const Link& link, const Value& value, Scope* scope) {
  line_ = link.line;
  switch (link.kind) {
    case LinkKind::kAttribute:
      return attribute(value, link.name);
    case LinkKind::kItem: {
      const Value key = KVASIR_TRY(evaluate(*link.index, scope));
      return item(value, key);
    }
    case LinkKind::kSlice:
      return slice(link, value, scope);
    case LinkKind::kCall: {
      const Arguments arguments = KVASIR_TRY(evaluate_arguments(link.arguments, scope));
      line_ = link.line;
      return call(value, arguments);
    }
    case LinkKind::kFilter: {
      const Arguments arguments = KVASIR_TRY(evaluate_arguments(link.arguments, scope));
      line_ = link.line;
      return apply_filter(link.name, value, arguments);
    }
    case LinkKind::kTest: {
      const Arguments arguments = KVASIR_TRY(evaluate_arguments(link.arguments, scope));
      line_ = link.line;
      return Value::boolean(KVASIR_TRY(apply_test(link.name, value, arguments)) != link.negated);
    }
  }
  return value;
}

Result<Value> Interpreter::slice(const Link& link, const Value& value, Scope* scope) {
  const Value start = link.start ? KVASIR_TRY(evaluate(*link.start, scope)) : Value::none();
  const Value stop = link.stop ? KVASIR_TRY(evaluate(*link.stop, scope)) : Value::none();
  const Value step = link.step ? KVASIR_TRY(evaluate(*link.step, scope)) : Value::none();
  return slice_value(*this, value, start, stop, step);
}

Result<Arguments> Interpreter::evaluate_arguments(const CallArguments& source, Scope* scope) {
  Arguments arguments;
  arguments.positional.reserve(source.positional.size());
  for (const auto& argument : source.positional) arguments.positional.push_back(KVASIR_TRY(evaluate(*argument, scope)));
  for (const auto& [name, argument] : source.named)
    arguments.named.emplace_back(name, KVASIR_TRY(evaluate(*argument, scope)));
  if (source.star || source.double_star) KVASIR_TRY(spread_arguments(source, arguments, scope));
  return arguments;
}

Result<void> Interpreter::spread_arguments(const CallArguments& source, Arguments& arguments, Scope* scope) {
  if (source.star) {
    const Value value = KVASIR_TRY(evaluate(*source.star, scope));
    const auto* const items = KVASIR_TRY(items_of(value));
    KVASIR_TRY(budget_.spend_items(items->size()));
    arguments.positional.insert(arguments.positional.end(), items->begin(), items->end());
  }
  if (!source.double_star) return {};
  const Value value = KVASIR_TRY(evaluate(*source.double_star, scope));
  if (!value.is(Kind::kDict)) return error(std::string("** in a call needs a dict, not ") + type_name(value));
  KVASIR_TRY(budget_.spend_items(value.dict().entries.size()));
  for (const auto& [key, argument] : value.dict().entries) {
    if (!key.is_string()) return error("** in a call needs a dict with text keys");
    arguments.named.emplace_back(key.view(), argument);
  }
  return {};
}

Result<Value> Interpreter::call(const Value& callee, const Arguments& arguments) {
  switch (callee.kind()) {
    case Kind::kMacro:
      return call_macro(callee.macro(), arguments);
    case Kind::kNative:
      return callee.native().function(*this, callee.native().self, arguments);
    case Kind::kLoop:
      return call_loop(callee.loop(), arguments);
    case Kind::kCycle: {
      CycleObject& cycle = callee.cycle();
      if (!cycle.joiner || !arguments.positional.empty() || !arguments.named.empty())
        return error("a cycler cannot be called; use next()");
      return cycle.position++ == 0 ? make_string({}, true) : Result<Value>(cycle.items.front());
    }
    case Kind::kUndefined:
      return error(callee.why());
    default:
      return error(std::string("a ") + type_name(callee) + " cannot be called");
  }
}

Result<Value> Interpreter::apply_filter(std::string_view name, const Value& value, const Arguments& arguments) {
  const Descent descent(frames_);  // map('map', ...) comes back here
  KVASIR_TRY(check_frames(descent));
  const auto function = find_filter(name);
  if (function == nullptr) return error("there is no filter " + quoted(name));
  return function(*this, value, arguments);
}

Result<bool> Interpreter::apply_test(std::string_view name, const Value& value, const Arguments& arguments) {
  const Descent descent(frames_);
  KVASIR_TRY(check_frames(descent));
  const auto function = find_test(name);
  if (function == nullptr) return error("there is no test " + quoted(name));
  return function(*this, value, arguments);
}

Result<Value> Interpreter::attribute(const Value& object, std::string_view name) {
  if (object.is_undefined()) return error(object.why());
  if (const auto member = KVASIR_TRY(find_member(*this, object, name))) return *member;
  if (object.is(Kind::kDict)) {
    if (const Value* const found = object.dict().find(name)) return *found;
  }
  KVASIR_TRY(budget_.spend(1));
  return heap_.undefined(no_attribute(object, name));
}

Result<Value> Interpreter::item(const Value& object, const Value& key) {
  if (object.is_undefined()) return error(object.why());
  if (object.is(Kind::kDict) && !key.is(Kind::kList) && !key.is(Kind::kDict)) {
    if (const Value* const found = KVASIR_TRY(find_key(*this, object.dict(), key))) return *found;
  }
  const bool indexed = object.is_sequence() || object.is_string();
  if (indexed && key.is_integral()) {
    const auto length = static_cast<int64_t>(*length_of(object));
    const int64_t index = key.as_int() < 0 ? key.as_int() + length : key.as_int();
    if (index >= 0 && index < length) {
      return object.is_string() ? character_at(*this, object.string(), static_cast<size_t>(index))
                                : Result<Value>(object.items()[static_cast<size_t>(index)]);
    }
  }
  if (key.is_string()) {
    if (const auto member = KVASIR_TRY(find_member(*this, object, key.view()))) return *member;
    return heap_.undefined(no_attribute(object, key.view()));
  }
  const std::string shown = key.is_number() || key.is_none() ? std::string(KVASIR_TRY(to_text(*this, key)).view())
                                                             : std::string("of that kind");
  return heap_.undefined(std::string(type_name(object)) + " object has no element " + shown);
}

Result<const std::vector<Value>*> Interpreter::items_of(const Value& value) {
  static const std::vector<Value> kNothing;
  switch (value.kind()) {
    case Kind::kList:
    case Kind::kTuple:
      return &value.items();
    case Kind::kUndefined:
      return &kNothing;
    case Kind::kDict: {
      std::vector<Value> keys;
      keys.reserve(value.dict().entries.size());
      for (const auto& [key, unused] : value.dict().entries) keys.push_back(key);
      return &KVASIR_TRY(make_list(std::move(keys))).items();
    }
    case Kind::kString: {
      const Text& text = value.text();
      KVASIR_TRY(budget_.spend_items(value.string().length()));
      std::vector<Value> characters;
      characters.reserve(value.string().length());
      for (size_t i = 0; i < text.size();) {
        const size_t end = std::min(i + utf8_length(text.view()[i]), text.size());
        characters.push_back(KVASIR_TRY(make_string(text.slice(i, end))));
        i = end;
      }
      return &heap_.adopt_list(Kind::kList, ListObject{std::move(characters), false, ListView::kPlain}).items();
    }
    default:
      return error(std::string("a ") + type_name(value) + " cannot be iterated");
  }
}

}  // namespace kvasir::jinja
