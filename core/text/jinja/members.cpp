// Methods and attributes of dicts, lists, namespaces, loops, macros and cyclers. What would change a list or dict is
// refused, as in Jinja's immutable sandbox.
#include <algorithm>
#include <array>

#include "core/text/jinja/library.h"
#include "core/text/jinja/operators.h"
#include "core/text/jinja/syntax.h"
#include "core/text/jinja/unicode.h"

namespace kvasir::jinja {
namespace {

using Slots = std::array<std::optional<Value>, 2>;

Result<Value> dict_view(Interpreter& interpreter, const Value& self, const Arguments& arguments, ListView view) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "this method", {}, slots));
  std::vector<Value> out;
  out.reserve(self.dict().entries.size());
  for (const auto& [key, value] : self.dict().entries) {
    out.push_back(view == ListView::kKeys     ? key
                  : view == ListView::kValues ? value
                                              : KVASIR_TRY(interpreter.make_tuple({key, value}, self.tainted())));
  }
  return interpreter.heap().list(interpreter.budget(), std::move(out), self.tainted(), view);
}

template <ListView kView>
Result<Value> dict_list(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  return dict_view(interpreter, self, arguments, kView);
}

Result<Value> dict_get(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "get", {"key", "default"}, slots, 1));
  const Value* const found = KVASIR_TRY(find_key(interpreter, self.dict(), *slots[0]));
  return found != nullptr ? *found : slots[1].value_or(Value::none());
}

Result<Value> itself(Interpreter& /*interpreter*/, const Value& self, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "copy", {}, slots));
  return self;  // nothing can change either of them
}

Result<Value> list_index(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "index", {"value"}, slots, 1));
  for (size_t i = 0; i < self.items().size(); ++i) {
    if (KVASIR_TRY(equal(interpreter, self.items()[i], *slots[0]))) return Value::size(i);
  }
  return Interpreter::error("index: the value is not in the list");
}

Result<Value> list_count(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "count", {"value"}, slots, 1));
  size_t n = 0;
  for (const auto& item : self.items()) n += KVASIR_TRY(equal(interpreter, item, *slots[0])) ? 1 : 0;
  return Value::size(n);
}

Result<Value> loop_cycle(Interpreter& /*interpreter*/, const Value& self, const Arguments& arguments) {
  if (arguments.positional.empty() || !arguments.named.empty())
    return Interpreter::error("loop.cycle needs at least one item");
  return arguments.positional[self.loop().index0 % arguments.positional.size()];
}

Result<Value> loop_changed(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  auto& last = self.loop().last_changed;
  bool same = last && last->size() == arguments.positional.size();
  for (size_t i = 0; same && i < last->size(); ++i)
    same = KVASIR_TRY(equal(interpreter, (*last)[i], arguments.positional[i]));
  if (!same) last = arguments.positional;
  return Value::boolean(!same);
}

Result<Value> cycle_next(Interpreter& /*interpreter*/, const Value& self, const Arguments& /*arguments*/) {
  CycleObject& cycle = self.cycle();
  return cycle.items[cycle.position++ % cycle.items.size()];
}

Result<Value> cycle_reset(Interpreter& /*interpreter*/, const Value& self, const Arguments& /*arguments*/) {
  self.cycle().position = 0;
  return Value::none();
}

constexpr std::array kDictMethods{
    Entry<NativeFunction>{"items", dict_list<ListView::kItems>},
    Entry<NativeFunction>{"keys", dict_list<ListView::kKeys>},
    Entry<NativeFunction>{"values", dict_list<ListView::kValues>},
    Entry<NativeFunction>{"get", dict_get},
    Entry<NativeFunction>{"copy", itself},
};
constexpr std::array kListMethods{
    Entry<NativeFunction>{"index", list_index},
    Entry<NativeFunction>{"count", list_count},
    Entry<NativeFunction>{"copy", itself},
};
constexpr std::array<std::string_view, 7> kDictChanges{"clear",  "pop",      "popitem",    "setdefault",
                                                       "update", "fromkeys", "__setitem__"};
constexpr std::array<std::string_view, 8> kListChanges{"append", "clear",  "extend",  "insert",
                                                       "pop",    "remove", "reverse", "sort"};

std::optional<Value> method(Interpreter& interpreter, std::span<const Entry<NativeFunction>> table, const Value& object,
                            std::string_view name) {
  for (const auto& entry : table) {
    if (entry.name == name) return interpreter.heap().native(entry.name, entry.function, object);
  }
  return std::nullopt;
}

/// As the sandbox: an undefined value whose use says why.
std::optional<Value> refused(Interpreter& interpreter, std::span<const std::string_view> names, const Value& object,
                             std::string_view name) {
  if (std::find(names.begin(), names.end(), name) == names.end()) return std::nullopt;
  return interpreter.heap().undefined(quoted(name) + " is refused: a chat template cannot change a " +
                                      type_name(object));
}

Result<size_t> loop_length(Interpreter& interpreter, LoopObject& loop) {
  if (!loop.statement->condition) return loop.source->size();
  KVASIR_TRY(interpreter.loop_has(loop, loop.source->size()));
  return loop.accepted.size();
}

Result<std::optional<Value>> loop_member(Interpreter& interpreter, const Value& object, std::string_view name) {
  LoopObject& loop = object.loop();
  if (name == "index") return std::optional(Value::size(loop.index0 + 1));
  if (name == "index0") return std::optional(Value::size(loop.index0));
  if (name == "first") return std::optional(Value::boolean(loop.index0 == 0));
  if (name == "last") return std::optional(Value::boolean(!KVASIR_TRY(interpreter.loop_has(loop, loop.index0 + 1))));
  if (name == "length") return std::optional(Value::size(KVASIR_TRY(loop_length(interpreter, loop))));
  if (name == "revindex") return std::optional(Value::size(KVASIR_TRY(loop_length(interpreter, loop)) - loop.index0));
  if (name == "revindex0")
    return std::optional(Value::size(KVASIR_TRY(loop_length(interpreter, loop)) - loop.index0 - 1));
  if (name == "depth") return std::optional(Value::integer(loop.depth0 + 1));
  if (name == "depth0") return std::optional(Value::integer(loop.depth0));
  if (name == "previtem") {
    if (loop.index0 == 0) return std::optional(interpreter.heap().undefined("there is no previous item"));
    return std::optional(Interpreter::loop_item(loop, loop.index0 - 1));
  }
  if (name == "nextitem") {
    if (!KVASIR_TRY(interpreter.loop_has(loop, loop.index0 + 1)))
      return std::optional(interpreter.heap().undefined("there is no next item"));
    return std::optional(Interpreter::loop_item(loop, loop.index0 + 1));
  }
  if (name == "cycle") return std::optional(interpreter.heap().native("cycle", loop_cycle, object));
  if (name == "changed") return std::optional(interpreter.heap().native("changed", loop_changed, object));
  return std::optional<Value>();
}

Result<std::optional<Value>> macro_member(Interpreter& interpreter, const MacroDefinition& macro,
                                          std::string_view name) {
  if (name == "name") return std::optional(KVASIR_TRY(interpreter.make_string(macro.name, true)));
  if (name == "catch_kwargs") return std::optional(Value::boolean(macro.takes_kwargs));
  if (name == "catch_varargs") return std::optional(Value::boolean(macro.takes_varargs));
  if (name == "caller") return std::optional(Value::boolean(macro.takes_caller));
  return std::optional<Value>();
}

std::optional<Value> cycle_member(Interpreter& interpreter, const Value& object, std::string_view name) {
  const CycleObject& cycle = object.cycle();
  if (cycle.joiner) return std::nullopt;
  if (name == "next") return interpreter.heap().native("next", cycle_next, object);
  if (name == "reset") return interpreter.heap().native("reset", cycle_reset, object);
  if (name == "current") return cycle.items[cycle.position % cycle.items.size()];
  return std::nullopt;
}

}  // namespace

Result<std::optional<Value>> find_member(Interpreter& interpreter, const Value& object, std::string_view name) {
  switch (object.kind()) {
    case Kind::kString:
      return method(interpreter, string_methods(), object, name);
    case Kind::kDict:
      if (auto found = method(interpreter, kDictMethods, object, name)) return found;
      return refused(interpreter, kDictChanges, object, name);
    case Kind::kList:
    case Kind::kTuple:
      if (auto found = method(interpreter, kListMethods, object, name)) return found;
      return refused(interpreter, kListChanges, object, name);
    case Kind::kNamespace: {
      const auto& attributes = object.name_space().attributes;
      const auto it = attributes.find(name);
      return it == attributes.end() ? std::optional<Value>() : std::optional(it->second);
    }
    case Kind::kLoop:
      return loop_member(interpreter, object, name);
    case Kind::kMacro:
      return macro_member(interpreter, *object.macro().definition, name);
    case Kind::kCycle:
      return cycle_member(interpreter, object, name);
    default:
      return std::optional<Value>();
  }
}

}  // namespace kvasir::jinja
