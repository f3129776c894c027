// The interpreter's values: Python's none, bool, int, float, str, list, tuple, dict, Jinja's undefined and namespace,
// and what can be called. A Value is 16 bytes and points into a Heap, which frees everything at once, flatly: no
// reference counts, no cycles to leak, no recursion in destructors. Lists, tuples and dicts never change once a
// template sees them (Hugging Face's sandbox is the immutable one). One rendering, one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/result.h"
#include "core/text/jinja/budget.h"
#include "core/text/jinja/text.h"

namespace kvasir::jinja {

class Interpreter;
struct MacroDefinition;
struct ForStatement;
struct Scope;
struct Arguments;

enum class Kind : uint8_t {
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kList,
  kTuple,
  kDict,
  kNamespace,
  kMacro,
  kNative,
  kLoop,
  kCycle
};

struct StringObject;
struct ListObject;
struct DictObject;
struct NamespaceObject;
struct MacroObject;
struct NativeObject;
struct LoopObject;
struct CycleObject;

/// `tainted` means: came from a user's value. Strings carry that per byte instead; here it covers what scalars print
/// and the punctuation that containers print.
class Value {
 public:
  Value() = default;  ///< none
  static Value none(bool tainted = false) { return Value(Kind::kNone, tainted); }
  static Value boolean(bool v, bool tainted = false) {
    Value x(Kind::kBool, tainted);
    x.as_.boolean = v;
    return x;
  }
  static Value integer(int64_t v, bool tainted = false) {
    Value x(Kind::kInt, tainted);
    x.as_.integer = v;
    return x;
  }
  static Value real(double v, bool tainted = false) {
    Value x(Kind::kFloat, tainted);
    x.as_.real = v;
    return x;
  }
  static Value size(size_t v) { return integer(static_cast<int64_t>(v)); }
  /// `why` lives in the heap or the syntax tree.
  static Value undefined(const std::string* why) {
    Value x(Kind::kUndefined, false);
    x.as_.why = why;
    return x;
  }
  explicit Value(const StringObject* v) : kind_(Kind::kString) { as_.string = v; }
  Value(Kind list_or_tuple, const ListObject* v);
  explicit Value(const DictObject* v);
  explicit Value(NamespaceObject* v) : kind_(Kind::kNamespace) { as_.name_space = v; }
  explicit Value(const MacroObject* v) : kind_(Kind::kMacro) { as_.macro = v; }
  explicit Value(const NativeObject* v) : kind_(Kind::kNative) { as_.native = v; }
  explicit Value(LoopObject* v) : kind_(Kind::kLoop) { as_.loop = v; }
  explicit Value(CycleObject* v) : kind_(Kind::kCycle) { as_.cycle = v; }

  Kind kind() const noexcept { return kind_; }
  bool tainted() const noexcept { return tainted_; }
  bool is(Kind kind) const noexcept { return kind_ == kind; }
  bool is_string() const noexcept { return kind_ == Kind::kString; }
  bool is_undefined() const noexcept { return kind_ == Kind::kUndefined; }
  bool is_none() const noexcept { return kind_ == Kind::kNone; }
  bool is_sequence() const noexcept { return kind_ == Kind::kList || kind_ == Kind::kTuple; }
  bool is_integral() const noexcept { return kind_ == Kind::kInt || kind_ == Kind::kBool; }  ///< bool is an int
  bool is_number() const noexcept { return is_integral() || kind_ == Kind::kFloat; }

  bool as_bool() const noexcept { return as_.boolean; }
  int64_t as_int() const noexcept { return kind_ == Kind::kBool ? (as_.boolean ? 1 : 0) : as_.integer; }
  double as_double() const noexcept { return kind_ == Kind::kFloat ? as_.real : static_cast<double>(as_int()); }
  const Text& text() const noexcept;
  std::string_view view() const noexcept { return text().view(); }
  const StringObject& string() const noexcept { return *as_.string; }
  const ListObject& list() const noexcept { return *as_.list; }
  const std::vector<Value>& items() const noexcept;
  const DictObject& dict() const noexcept { return *as_.dict; }
  NamespaceObject& name_space() const noexcept { return *as_.name_space; }
  const MacroObject& macro() const noexcept { return *as_.macro; }
  const NativeObject& native() const noexcept { return *as_.native; }
  LoopObject& loop() const noexcept { return *as_.loop; }
  CycleObject& cycle() const noexcept { return *as_.cycle; }
  const std::string& why() const noexcept { return *as_.why; }
  /// Same object in memory (Jinja's `sameas`), or the same small value.
  bool same_as(const Value& other) const noexcept;
  /// The object behind the value; null for undefined, none and numbers.
  const void* address() const noexcept;

 private:
  Value(Kind kind, bool tainted) : kind_(kind), tainted_(tainted) {}

  Kind kind_ = Kind::kNone;
  bool tainted_ = false;
  union {
    bool boolean;
    int64_t integer;
    double real;
    const std::string* why;
    const StringObject* string;
    const ListObject* list;
    const DictObject* dict;
    NamespaceObject* name_space;
    const MacroObject* macro;
    const NativeObject* native;
    LoopObject* loop;
    CycleObject* cycle;
  } as_ = {.integer = 0};
};

struct StringObject {
  Text text;
  mutable std::optional<size_t> code_points;  ///< counted once
  bool ascii() const { return length() == text.size(); }
  size_t length() const;
};

/// What Python prints around it; lists and tuples print by their Value's kind.
enum class ListView : uint8_t { kPlain, kKeys, kValues, kItems };

struct ListObject {
  std::vector<Value> items;
  bool tainted = false;
  ListView view = ListView::kPlain;
};

/// Keeps insertion order. String keys are found in O(log n) whatever they are; other keys one by one (and are charged).
struct DictObject {
  std::vector<std::pair<Value, Value>> entries;
  std::map<std::string_view, size_t> by_string;
  bool tainted = false;

  const Value* find(std::string_view key) const;
  /// For string keys.
  void set(const Value& key, const Value& value);
};

struct NamespaceObject {
  std::map<std::string, Value, std::less<>> attributes;
};

struct MacroObject {
  const MacroDefinition* definition = nullptr;
  Scope* scope = nullptr;  ///< where it was defined
};

using NativeFunction = Result<Value> (*)(Interpreter&, const Value& self, const Arguments&);

struct NativeObject {
  std::string_view name;  ///< static
  NativeFunction function = nullptr;
  Value self;  ///< none for plain functions
};

/// State of a running for loop. With a condition its items come lazily, as in Jinja: the condition may look at what the
/// body did before.
struct LoopObject {
  const ForStatement* statement = nullptr;
  Scope* scope = nullptr;  ///< around the loop
  const std::vector<Value>* source = nullptr;
  size_t source_position = 0;   ///< next one to look at, if there is a condition
  std::vector<Value> accepted;  ///< passed the condition
  size_t index0 = 0;
  uint32_t depth0 = 0;
  std::optional<std::vector<Value>> last_changed;
};

/// cycler() and joiner().
struct CycleObject {
  std::vector<Value> items;
  size_t position = 0;
  bool joiner = false;
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string_view, Value>> named;  ///< names live in the syntax tree or the heap
};

using NameId = uint32_t;

/// Variables of one block. Lookups go outwards through `parent`.
struct Scope {
  Scope* parent = nullptr;
  std::vector<std::pair<NameId, Value>> variables;

  const Value* find_here(NameId name) const;
  void set(NameId name, const Value& value);
};

/// Owns every object. Addresses are stable; all is freed with the heap.
class Heap {
 public:
  // Charged: what a running template makes.
  Result<Value> string(Budget& budget, Text text);
  Result<Value> string(Budget& budget, std::string bytes, bool trusted) {
    return string(budget, Text(std::move(bytes), trusted));
  }
  Result<Value> list(Budget& budget, std::vector<Value> items, bool tainted = false, ListView view = ListView::kPlain);
  Result<Value> tuple(Budget& budget, std::vector<Value> items, bool tainted = false);

  // Not charged: constants of the syntax tree, values of the input.
  Value adopt_string(Text text);
  Value adopt_list(Kind list_or_tuple, ListObject object);

  DictObject& new_dict() { return dicts_.emplace_back(); }
  NamespaceObject& new_namespace() { return namespaces_.emplace_back(); }
  Value macro(const MacroDefinition* definition, Scope* scope);
  Value native(std::string_view name, NativeFunction function, const Value& self);
  LoopObject& new_loop() { return loops_.emplace_back(); }
  CycleObject& new_cycle() { return cycles_.emplace_back(); }
  Value undefined(std::string why);
  Scope& new_scope(Scope* parent);
  /// A string that lives as long as the heap.
  const std::string& keep(std::string s) { return kept_.emplace_back(std::move(s)); }

 private:
  std::deque<StringObject> strings_;
  std::deque<ListObject> lists_;
  std::deque<DictObject> dicts_;
  std::deque<NamespaceObject> namespaces_;
  std::deque<MacroObject> macros_;
  std::deque<NativeObject> natives_;
  std::deque<LoopObject> loops_;
  std::deque<CycleObject> cycles_;
  std::deque<std::string> kept_;
  std::deque<Scope> scopes_;
};

/// Python's type name, for messages: "str", "dict", ...
const char* type_name(const Value& value) noexcept;
bool truthy(const Value& value) noexcept;
/// Number of items or characters; nothing for values without length.
std::optional<size_t> length_of(const Value& value);

}  // namespace kvasir::jinja
