#include "core/text/jinja/value.h"

#include "core/text/jinja/unicode.h"

namespace kvasir::jinja {

Value::Value(Kind list_or_tuple, const ListObject* v) : kind_(list_or_tuple), tainted_(v->tainted) {
  as_.list = v;
}
Value::Value(const DictObject* v) : kind_(Kind::kDict), tainted_(v->tainted) {
  as_.dict = v;
}

const Text& Value::text() const noexcept {
  return as_.string->text;
}
const std::vector<Value>& Value::items() const noexcept {
  return as_.list->items;
}

bool Value::same_as(const Value& other) const noexcept {
  if (kind_ != other.kind_) return false;
  switch (kind_) {
    case Kind::kUndefined:
    case Kind::kNone:
      return true;
    case Kind::kBool:
      return as_.boolean == other.as_.boolean;
    case Kind::kFloat:
      return as_.real == other.as_.real;
    case Kind::kInt:
      return as_.integer == other.as_.integer;
    default:
      return address() == other.address();
  }
}

const void* Value::address() const noexcept {
  switch (kind_) {
    case Kind::kString:
      return as_.string;
    case Kind::kList:
    case Kind::kTuple:
      return as_.list;
    case Kind::kDict:
      return as_.dict;
    case Kind::kNamespace:
      return as_.name_space;
    case Kind::kMacro:
      return as_.macro;
    case Kind::kNative:
      return as_.native;
    case Kind::kLoop:
      return as_.loop;
    case Kind::kCycle:
      return as_.cycle;
    default:
      return nullptr;
  }
}

size_t StringObject::length() const {
  if (!code_points) code_points = count_code_points(text.view());
  return *code_points;
}

const Value* DictObject::find(std::string_view key) const {
  const auto it = by_string.find(key);
  return it == by_string.end() ? nullptr : &entries[it->second].second;
}

void DictObject::set(const Value& key, const Value& value) {
  const auto [it, added] = by_string.try_emplace(key.view(), entries.size());
  if (added) {
    entries.emplace_back(key, value);
  } else {
    entries[it->second].second = value;
  }
}

const Value* Scope::find_here(NameId name) const {
  for (const auto& [id, value] : variables) {
    if (id == name) return &value;
  }
  return nullptr;
}

void Scope::set(NameId name, const Value& value) {
  for (auto& [id, old] : variables) {
    if (id == name) {
      old = value;
      return;
    }
  }
  variables.emplace_back(name, value);
}

Result<Value> Heap::string(Budget& budget, Text text) {
  KVASIR_TRY(budget.spend_bytes(text.weight()));
  return adopt_string(std::move(text));
}

Result<Value> Heap::list(Budget& budget, std::vector<Value> items, bool tainted, ListView view) {
  KVASIR_TRY(budget.spend_items(items.size()));
  return adopt_list(Kind::kList, ListObject{std::move(items), tainted, view});
}

Result<Value> Heap::tuple(Budget& budget, std::vector<Value> items, bool tainted) {
  KVASIR_TRY(budget.spend_items(items.size()));
  return adopt_list(Kind::kTuple, ListObject{std::move(items), tainted, ListView::kPlain});
}

Value Heap::adopt_string(Text text) {
  return Value(&strings_.emplace_back(StringObject{std::move(text), std::nullopt}));
}

Value Heap::adopt_list(Kind list_or_tuple, ListObject object) {
  return {list_or_tuple, &lists_.emplace_back(std::move(object))};
}

Value Heap::macro(const MacroDefinition* definition, Scope* scope) {
  return Value(&macros_.emplace_back(MacroObject{definition, scope}));
}

Value Heap::native(std::string_view name, NativeFunction function, const Value& self) {
  return Value(&natives_.emplace_back(NativeObject{name, function, self}));
}

Value Heap::undefined(std::string why) {
  return Value::undefined(&keep(std::move(why)));
}

Scope& Heap::new_scope(Scope* parent) {
  Scope& scope = scopes_.emplace_back();
  scope.parent = parent;
  return scope;
}

const char* type_name(const Value& value) noexcept {
  switch (value.kind()) {
    case Kind::kUndefined:
      return "undefined";
    case Kind::kNone:
      return "None";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kString:
      return "str";
    case Kind::kList:
      return "list";
    case Kind::kTuple:
      return "tuple";
    case Kind::kDict:
      return "dict";
    case Kind::kNamespace:
      return "namespace";
    case Kind::kMacro:
      return "macro";
    case Kind::kNative:
      return "function";
    case Kind::kLoop:
      return "loop";
    case Kind::kCycle:
      return "cycler";
  }
  return "value";
}

bool truthy(const Value& value) noexcept {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
      return value.as_bool();
    case Kind::kInt:
      return value.as_int() != 0;
    case Kind::kFloat:
      return value.as_double() != 0.0;
    case Kind::kString:
      return !value.text().empty();
    case Kind::kList:
    case Kind::kTuple:
      return !value.items().empty();
    case Kind::kDict:
      return !value.dict().entries.empty();
    default:
      return true;
  }
}

std::optional<size_t> length_of(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return 0;
    case Kind::kString:
      return value.string().length();
    case Kind::kList:
    case Kind::kTuple:
      return value.items().size();
    case Kind::kDict:
      return value.dict().entries.size();
    default:
      return std::nullopt;
  }
}

}  // namespace kvasir::jinja
