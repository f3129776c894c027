// Global functions of chat templates: Jinja's own and those that Hugging Face adds.
#include <array>
#include <cstdio>

#include "core/text/jinja/library.h"
#include "core/text/jinja/operators.h"
#include "core/text/jinja/printing.h"
#include "core/text/jinja/time_format.h"

namespace kvasir::jinja {
namespace {

using Slots = std::array<std::optional<Value>, 3>;

Result<Value> raise_exception(Interpreter& interpreter, const Value& /*self*/, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "raise_exception", {"message"}, slots, 1));
  return interpreter.raised(std::string(KVASIR_TRY(to_text(interpreter, *slots[0])).view()));
}

Result<Value> strftime_now(Interpreter& interpreter, const Value& /*self*/, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "strftime_now", {"format"}, slots, 1));
  const Text& format = *KVASIR_TRY(text_argument(slots[0], "format"));
  TextBuilder out(interpreter.budget());
  KVASIR_TRY(append_time(out, format, interpreter.now()));
  return interpreter.make_string(out.take());
}

Result<Value> make_namespace(Interpreter& interpreter, const Value& /*self*/, const Arguments& arguments) {
  if (arguments.positional.size() > 1) return Interpreter::error("namespace takes one dict and named values");
  NamespaceObject& object = interpreter.heap().new_namespace();
  if (!arguments.positional.empty()) {
    const Value& initial = arguments.positional.front();
    if (!initial.is(Kind::kDict))
      return Interpreter::error(std::string("namespace needs a dict, not ") + type_name(initial));
    for (const auto& [key, value] : initial.dict().entries) {
      KVASIR_TRY(interpreter.budget().spend_items(2));
      if (key.is_string()) object.attributes.insert_or_assign(std::string(key.view()), value);
    }
  }
  for (const auto& [name, value] : arguments.named) {
    KVASIR_TRY(interpreter.budget().spend_items(2));
    object.attributes.insert_or_assign(std::string(name), value);
  }
  return Value(&object);
}

/// How many numbers range(start, stop, step) has. Requires step != 0.
uint64_t range_length(int64_t start, int64_t stop, int64_t step) {
  if (step > 0 ? start >= stop : start <= stop) return 0;
  const uint64_t distance = step > 0 ? static_cast<uint64_t>(stop) - static_cast<uint64_t>(start)
                                     : static_cast<uint64_t>(start) - static_cast<uint64_t>(stop);
  const uint64_t stride = step > 0 ? static_cast<uint64_t>(step) : ~static_cast<uint64_t>(step) + 1;
  return (distance - 1) / stride + 1;
}

Result<Value> range(Interpreter& interpreter, const Value& /*self*/, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "range", {"start", "stop", "step"}, slots, 1));
  int64_t start = KVASIR_TRY(int_argument(slots[0], 0, "range"));
  int64_t stop = KVASIR_TRY(int_argument(slots[1], 0, "range"));
  const int64_t step = KVASIR_TRY(int_argument(slots[2], 1, "range"));
  if (!slots[1]) stop = std::exchange(start, 0);
  if (step == 0) return Interpreter::error("range: step cannot be 0");
  const uint64_t length = range_length(start, stop, step);
  const uint64_t limit = interpreter.budget().limits().max_range;
  if (length > limit) {
    return Failure{Code::kTooLarge, "range(...) would have " + std::to_string(length) + " items, more than " +
                                        std::to_string(limit) + " (template range limit)"};
  }
  bool tainted = false;
  for (const auto& slot : slots) tainted = tainted || (slot && slot->tainted());
  std::vector<Value> items;
  items.reserve(length);
  for (uint64_t i = 0; i < length; ++i)
    items.push_back(Value::integer(start + static_cast<int64_t>(i) * step, tainted));
  return interpreter.make_list(std::move(items));
}

Result<Value> make_dict(Interpreter& interpreter, const Value& /*self*/, const Arguments& arguments) {
  if (arguments.positional.size() > 1)
    return Interpreter::error("dict takes one dict or list of pairs, and named values");
  DictObject& dict = interpreter.heap().new_dict();
  if (!arguments.positional.empty() && arguments.positional.front().is(Kind::kDict)) {
    dict.tainted = arguments.positional.front().tainted();
    for (const auto& [key, value] : arguments.positional.front().dict().entries)
      KVASIR_TRY(set_key(interpreter, dict, key, value));
  } else if (!arguments.positional.empty()) {
    const auto* const pairs = KVASIR_TRY(interpreter.items_of(arguments.positional.front()));
    for (const auto& pair : *pairs) {
      const auto* const parts = KVASIR_TRY(interpreter.items_of(pair));
      if (parts->size() != 2) return Interpreter::error("dict needs pairs of key and value");
      KVASIR_TRY(set_key(interpreter, dict, (*parts)[0], (*parts)[1]));
    }
  }
  for (const auto& [name, value] : arguments.named) {
    const Value key = KVASIR_TRY(interpreter.make_string(std::string(name), true));
    KVASIR_TRY(set_key(interpreter, dict, key, value));
  }
  return Value(&dict);
}

Result<Value> make_cycler(Interpreter& interpreter, const Value& /*self*/, const Arguments& arguments) {
  if (arguments.positional.empty() || !arguments.named.empty())
    return Interpreter::error("cycler needs at least one item");
  KVASIR_TRY(interpreter.budget().spend_items(arguments.positional.size()));
  CycleObject& cycle = interpreter.heap().new_cycle();
  cycle.items = arguments.positional;
  return Value(&cycle);
}

Result<Value> make_joiner(Interpreter& interpreter, const Value& /*self*/, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "joiner", {"sep"}, slots));
  CycleObject& cycle = interpreter.heap().new_cycle();
  cycle.joiner = true;
  cycle.items.push_back(slots[0] ? *slots[0] : KVASIR_TRY(interpreter.make_string(", ", true)));
  return Value(&cycle);
}

constexpr std::array kFunctions{
    Entry<NativeFunction>{"raise_exception", raise_exception},
    Entry<NativeFunction>{"strftime_now", strftime_now},
    Entry<NativeFunction>{"namespace", make_namespace},
    Entry<NativeFunction>{"range", range},
    Entry<NativeFunction>{"dict", make_dict},
    Entry<NativeFunction>{"cycler", make_cycler},
    Entry<NativeFunction>{"joiner", make_joiner},
};

}  // namespace

std::span<const Entry<NativeFunction>> global_functions() {
  return kFunctions;
}

}  // namespace kvasir::jinja
