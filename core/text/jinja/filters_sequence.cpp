// Filters over lists and dicts.
#include <algorithm>
#include <array>
#include <set>

#include "core/text/jinja/library.h"
#include "core/text/jinja/operators.h"
#include "core/text/jinja/printing.h"

namespace kvasir::jinja {
namespace {

using Slots = std::array<std::optional<Value>, 5>;

bool is_given(const std::optional<Value>& value) {
  return value && !value->is_none();
}

Result<Value> length_filter(Interpreter& /*interpreter*/, const Value& value, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "length", {}, slots));
  const auto length = length_of(value);
  if (!length) return Interpreter::error(std::string("a ") + type_name(value) + " has no length");
  return Value::size(*length);
}

Result<Value> list_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "list", {}, slots));
  const auto* const items = KVASIR_TRY(interpreter.items_of(value));
  return interpreter.make_list(*items, value.tainted());
}

Result<Value> first_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "first", {}, slots));
  const auto* const items = KVASIR_TRY(interpreter.items_of(value));
  return items->empty() ? interpreter.heap().undefined("there is no first item in an empty sequence") : items->front();
}

Result<Value> last_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "last", {}, slots));
  const auto* const items = KVASIR_TRY(interpreter.items_of(value));
  return items->empty() ? interpreter.heap().undefined("there is no last item in an empty sequence") : items->back();
}

Result<Value> items_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "items", {}, slots));
  if (value.is_undefined()) return interpreter.make_list({});
  if (!value.is(Kind::kDict)) return Interpreter::error(std::string("items needs a dict, not ") + type_name(value));
  std::vector<Value> pairs;
  for (const auto& [key, item] : value.dict().entries)
    pairs.push_back(KVASIR_TRY(interpreter.make_tuple({key, item}, value.tainted())));
  return interpreter.make_list(std::move(pairs), value.tainted());
}

/// Sorts `items` by `keys`, stably. The first comparison that fails ends it.
Result<Value> sorted(Interpreter& interpreter, const std::vector<Value>& items, const std::vector<Value>& keys,
                     bool reverse, bool tainted) {
  const auto indices = KVASIR_TRY(sorted_indices(interpreter, keys, reverse));
  std::vector<Value> out;
  out.reserve(items.size());
  for (const size_t i : indices) out.push_back(items[i]);
  return interpreter.make_list(std::move(out), tainted);
}

Result<Value> sort_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "sort", {"reverse", "case_sensitive", "attribute"}, slots));
  const bool case_sensitive = bool_argument(slots[1], false);
  const auto* const items = KVASIR_TRY(interpreter.items_of(value));
  std::vector<Value> keys;
  for (const auto& item : *items) {
    std::vector<Value> parts;
    if (is_given(slots[2]) && slots[2]->is_string()) {
      const auto names = slots[2]->view();
      for (size_t begin = 0; begin <= names.size();) {
        const size_t end = std::min(names.find(',', begin), names.size());
        const Value path = KVASIR_TRY(interpreter.make_string(slots[2]->text().slice(begin, end)));
        parts.push_back(KVASIR_TRY(attribute_path(interpreter, item, path)));
        begin = end + 1;
      }
    } else {
      parts.push_back(is_given(slots[2]) ? KVASIR_TRY(attribute_path(interpreter, item, *slots[2])) : item);
    }
    if (!case_sensitive) {
      for (auto& part : parts) part = KVASIR_TRY(lower_if_string(interpreter, part));
    }
    keys.push_back(KVASIR_TRY(interpreter.make_list(std::move(parts))));
  }
  return sorted(interpreter, *items, keys, bool_argument(slots[0], false), value.tainted());
}

Result<Value> dictsort_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "dictsort", {"case_sensitive", "by", "reverse"}, slots));
  if (value.is_undefined()) return Interpreter::error(value.why());
  if (!value.is(Kind::kDict)) return Interpreter::error(std::string("dictsort needs a dict, not ") + type_name(value));
  const std::string_view by = slots[1] && slots[1]->is_string() ? slots[1]->view() : slots[1] ? "?" : "key";
  if (by != "key" && by != "value") return Interpreter::error("dictsort: by must be 'key' or 'value'");
  std::vector<Value> pairs;
  std::vector<Value> keys;
  for (const auto& [key, item] : value.dict().entries) {
    pairs.push_back(KVASIR_TRY(interpreter.make_tuple({key, item}, value.tainted())));
    const Value& sort_by = by == "key" ? key : item;
    keys.push_back(bool_argument(slots[0], false) ? sort_by : KVASIR_TRY(lower_if_string(interpreter, sort_by)));
  }
  return sorted(interpreter, pairs, keys, bool_argument(slots[2], false), value.tainted());
}

Result<Value> reverse_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "reverse", {}, slots));
  if (value.is_string()) return slice_value(interpreter, value, Value::none(), Value::none(), Value::integer(-1));
  const auto* const items = KVASIR_TRY(interpreter.items_of(value));
  return interpreter.make_list({items->rbegin(), items->rend()}, value.tainted());
}

/// Keys already seen: texts in a set, others one by one.
class Seen {
 public:
  Result<bool> add(Interpreter& interpreter, const Value& key) {
    KVASIR_TRY(interpreter.budget().spend(1));
    if (key.is_string()) return texts_.insert(key.view()).second;
    for (const auto& other : others_) {
      if (KVASIR_TRY(equal(interpreter, other, key))) return false;
    }
    others_.push_back(key);
    return true;
  }

 private:
  std::set<std::string_view> texts_;
  std::vector<Value> others_;
};

Result<Value> unique_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "unique", {"case_sensitive", "attribute"}, slots));
  const auto* const items = KVASIR_TRY(interpreter.items_of(value));
  Seen seen;
  std::vector<Value> out;
  for (const auto& item : *items) {
    Value key = is_given(slots[1]) ? KVASIR_TRY(attribute_path(interpreter, item, *slots[1])) : item;
    if (!bool_argument(slots[0], false)) key = KVASIR_TRY(lower_if_string(interpreter, key));
    if (KVASIR_TRY(seen.add(interpreter, key))) out.push_back(item);
  }
  return interpreter.make_list(std::move(out), value.tainted());
}

template <int kSign>
Result<Value> extreme_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, kSign < 0 ? "min" : "max", {"case_sensitive", "attribute"}, slots));
  const auto* const items = KVASIR_TRY(interpreter.items_of(value));
  if (items->empty()) return interpreter.heap().undefined("there is no smallest or largest item in an empty sequence");
  std::optional<Value> best;
  std::optional<Value> best_key;
  for (const auto& item : *items) {
    Value key = is_given(slots[1]) ? KVASIR_TRY(attribute_path(interpreter, item, *slots[1])) : item;
    if (!bool_argument(slots[0], false)) key = KVASIR_TRY(lower_if_string(interpreter, key));
    if (best && KVASIR_TRY(order(interpreter, key, *best_key)).value_or(0) * kSign <= 0) continue;
    best = item;
    best_key = key;
  }
  return *best;
}

Result<Value> sum_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "sum", {"attribute", "start"}, slots));
  Value total = slots[1] ? *slots[1] : Value::integer(0);
  if (total.is_string()) return Interpreter::error("sum cannot add texts; use join");
  const auto* const items = KVASIR_TRY(interpreter.items_of(value));
  for (const auto& item : *items) {
    KVASIR_TRY(interpreter.budget().spend(1));
    const Value part = is_given(slots[0]) ? KVASIR_TRY(attribute_path(interpreter, item, *slots[0])) : item;
    total = KVASIR_TRY(arithmetic(interpreter, Operator::kAdd, total, part));
  }
  return total;
}

/// map('filter', ...) or map(attribute=..., default=...).
Result<Value> map_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  if (!truthy(value)) return interpreter.make_list({});  // none, 0 and undefined are nothing to go through
  const auto* const items = KVASIR_TRY(interpreter.items_of(value));
  std::vector<Value> out;
  if (arguments.positional.empty()) {
    Slots slots;
    KVASIR_TRY(bind(arguments, "map", {"attribute", "default"}, slots, 1));
    for (const auto& item : *items) {
      const Value found = KVASIR_TRY(attribute_path(interpreter, item, *slots[0]));
      out.push_back(found.is_undefined() && is_given(slots[1]) ? *slots[1] : found);
    }
    return interpreter.make_list(std::move(out), value.tainted());
  }
  const Text& name = *KVASIR_TRY(text_argument(arguments.positional.front(), "the filter that map applies"));
  Arguments rest = arguments;
  rest.positional.erase(rest.positional.begin());
  for (const auto& item : *items) {
    KVASIR_TRY(interpreter.budget().spend(1));
    out.push_back(KVASIR_TRY(interpreter.apply_filter(name.view(), item, rest)));
  }
  return interpreter.make_list(std::move(out), value.tainted());
}

template <bool kKeep, bool kByAttribute>
Result<Value> select_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  if (!truthy(value)) return interpreter.make_list({});
  const auto* const items = KVASIR_TRY(interpreter.items_of(value));
  constexpr size_t kBeforeTest = kByAttribute ? 1 : 0;
  const auto& given = arguments.positional;
  if (given.size() < kBeforeTest) return Interpreter::error("this filter needs the name of an attribute");
  std::string_view test;
  Arguments rest;
  rest.named = arguments.named;
  if (given.size() > kBeforeTest) {
    test = KVASIR_TRY(text_argument(given[kBeforeTest], "the name of the test"))->view();
    rest.positional.assign(given.begin() + kBeforeTest + 1, given.end());
  }
  std::vector<Value> out;
  for (const auto& item : *items) {
    KVASIR_TRY(interpreter.budget().spend(1));
    const Value tested = kByAttribute ? KVASIR_TRY(attribute_path(interpreter, item, given.front())) : item;
    const bool passes = test.empty() ? truthy(tested) : KVASIR_TRY(interpreter.apply_test(test, tested, rest));
    if (passes == kKeep) out.push_back(item);
  }
  return interpreter.make_list(std::move(out), value.tainted());
}

Result<Value> batch_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "batch", {"linecount", "fill_with"}, slots, 1));
  const int64_t count = KVASIR_TRY(int_argument(slots[0], 1, "linecount"));
  const auto* const items = KVASIR_TRY(interpreter.items_of(value));
  std::vector<Value> rows;
  std::vector<Value> row;
  for (const auto& item : *items) {
    if (static_cast<int64_t>(row.size()) == count)
      rows.push_back(KVASIR_TRY(interpreter.make_list(std::exchange(row, {}))));
    row.push_back(item);
  }
  if (!row.empty()) {
    if (is_given(slots[1]) && static_cast<int64_t>(row.size()) < count) {
      KVASIR_TRY(interpreter.budget().spend_items(static_cast<size_t>(count)));
      row.resize(static_cast<size_t>(count), *slots[1]);
    }
    rows.push_back(KVASIR_TRY(interpreter.make_list(std::move(row))));
  }
  return interpreter.make_list(std::move(rows));
}

Result<Value> slice_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "slice", {"slices", "fill_with"}, slots, 1));
  const int64_t wanted = KVASIR_TRY(int_argument(slots[0], 1, "slices"));
  if (wanted == 0) return Interpreter::error("division by zero");
  const auto* const items = KVASIR_TRY(interpreter.items_of(value));
  const size_t n = wanted < 0 ? 0 : static_cast<size_t>(wanted);
  KVASIR_TRY(interpreter.budget().spend_items(n));
  std::vector<Value> slices;
  size_t begin = 0;
  for (size_t i = 0; i < n; ++i) {
    const size_t size = items->size() / n + (i < items->size() % n ? 1 : 0);
    std::vector<Value> part(items->begin() + static_cast<ptrdiff_t>(begin),
                            items->begin() + static_cast<ptrdiff_t>(begin + size));
    if (is_given(slots[1]) && i >= items->size() % n) part.push_back(*slots[1]);
    slices.push_back(KVASIR_TRY(interpreter.make_list(std::move(part))));
    begin += size;
  }
  return interpreter.make_list(std::move(slices));
}

Result<Value> groupby_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "groupby", {"attribute", "default", "case_sensitive"}, slots, 1));
  const auto* const items = KVASIR_TRY(interpreter.items_of(value));
  std::vector<Value> keyed;  // (compared key, shown key, item)
  std::vector<Value> keys;
  for (const auto& item : *items) {
    Value shown = KVASIR_TRY(attribute_path(interpreter, item, *slots[0]));
    if (shown.is_undefined() && is_given(slots[1])) shown = *slots[1];
    keys.push_back(bool_argument(slots[2], false) ? shown : KVASIR_TRY(lower_if_string(interpreter, shown)));
    keyed.push_back(KVASIR_TRY(interpreter.make_tuple({keys.back(), shown, item})));
  }
  const Value in_order = KVASIR_TRY(sorted(interpreter, keyed, keys, false, false));
  std::vector<Value> groups;
  std::vector<Value> group;
  for (size_t i = 0; i < in_order.items().size(); ++i) {
    const auto& entry = in_order.items()[i].items();
    group.push_back(entry[2]);
    const bool last = i + 1 == in_order.items().size();
    if (!last && KVASIR_TRY(equal(interpreter, entry[0], in_order.items()[i + 1].items()[0]))) continue;
    const Value& shown = in_order.items()[i + 1 - group.size()].items()[1];
    const Value members = KVASIR_TRY(interpreter.make_list(std::exchange(group, {}), value.tainted()));
    groups.push_back(KVASIR_TRY(interpreter.make_tuple({shown, members}, value.tainted())));
  }
  return interpreter.make_list(std::move(groups), value.tainted());
}

constexpr std::array kFilters{
    Entry<FilterFunction>{"length", length_filter},
    Entry<FilterFunction>{"count", length_filter},
    Entry<FilterFunction>{"list", list_filter},
    Entry<FilterFunction>{"first", first_filter},
    Entry<FilterFunction>{"last", last_filter},
    Entry<FilterFunction>{"items", items_filter},
    Entry<FilterFunction>{"sort", sort_filter},
    Entry<FilterFunction>{"dictsort", dictsort_filter},
    Entry<FilterFunction>{"reverse", reverse_filter},
    Entry<FilterFunction>{"unique", unique_filter},
    Entry<FilterFunction>{"min", extreme_filter<-1>},
    Entry<FilterFunction>{"max", extreme_filter<1>},
    Entry<FilterFunction>{"sum", sum_filter},
    Entry<FilterFunction>{"map", map_filter},
    Entry<FilterFunction>{"select", select_filter<true, false>},
    Entry<FilterFunction>{"reject", select_filter<false, false>},
    Entry<FilterFunction>{"selectattr", select_filter<true, true>},
    Entry<FilterFunction>{"rejectattr", select_filter<false, true>},
    Entry<FilterFunction>{"batch", batch_filter},
    Entry<FilterFunction>{"slice", slice_filter},
    Entry<FilterFunction>{"groupby", groupby_filter},
};

}  // namespace

std::span<const Entry<FilterFunction>> sequence_filters() {
  return kFilters;
}

}  // namespace kvasir::jinja
