// Filters that make texts.
#include <algorithm>
#include <array>

#include "core/text/jinja/format.h"
#include "core/text/jinja/library.h"
#include "core/text/jinja/printing.h"
#include "core/text/jinja/unicode.h"

namespace kvasir::jinja {
namespace {

using Slots = std::array<std::optional<Value>, 5>;

template <Case kTo>
Result<Value> case_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "this filter", {}, slots));
  const Text text = KVASIR_TRY(to_text(interpreter, value));
  return change_case(interpreter, text, kTo);
}

Result<Value> string_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "string", {}, slots));
  if (value.is_string()) return value;
  return interpreter.make_string(KVASIR_TRY(to_text(interpreter, value)));
}

Result<Value> trim_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "trim", {"chars"}, slots));
  const Text text = KVASIR_TRY(to_text(interpreter, value));
  const Text* characters = nullptr;
  if (slots[0] && !slots[0]->is_none()) characters = KVASIR_TRY(text_argument(slots[0], "chars"));
  return strip_text(interpreter, text, characters, Side::kBoth);
}

Result<Value> replace_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "replace", {"old", "new", "count"}, slots, 2));
  const Text text = KVASIR_TRY(to_text(interpreter, value));
  const Text from = KVASIR_TRY(to_text(interpreter, *slots[0]));
  const Text to = KVASIR_TRY(to_text(interpreter, *slots[1]));
  const bool all = !slots[2] || slots[2]->is_none();
  return replace_text(interpreter, text, from, to, all ? -1 : KVASIR_TRY(int_argument(slots[2], -1, "count")));
}

Result<Value> join_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "join", {"d", "attribute"}, slots));
  const Text separator = slots[0] ? KVASIR_TRY(to_text(interpreter, *slots[0])) : Text();
  const auto* items = KVASIR_TRY(interpreter.items_of(value));
  std::vector<Value> looked_up;
  if (slots[1] && !slots[1]->is_none()) {
    for (const auto& item : *items) looked_up.push_back(KVASIR_TRY(attribute_path(interpreter, item, *slots[1])));
    items = &looked_up;
  }
  return join_texts(interpreter, separator, *items);
}

Result<Value> indent_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "indent", {"width", "first", "blank"}, slots));
  if (!value.is_string()) return Interpreter::error(std::string("indent needs a str, not ") + type_name(value));
  TextBuilder indention(interpreter.budget());
  if (slots[0] && slots[0]->is_string()) {
    KVASIR_TRY(indention.append(slots[0]->text()));
  } else {
    const int64_t width = KVASIR_TRY(int_argument(slots[0], 4, "width"));
    KVASIR_TRY(indention.fill(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ', true));
  }
  const bool blank = bool_argument(slots[2], false);
  const Text& text = value.text();
  KVASIR_TRY(interpreter.budget().spend_bytes(text.size()));
  auto lines = line_ranges(text.view());
  // Jinja adds a newline before it splits: a text that ends in one has an empty last line.
  const bool ends_line = lines.empty() || lines.back().second != text.size();
  if (ends_line) lines.emplace_back(text.size(), text.size());
  TextBuilder out(interpreter.budget());
  if (bool_argument(slots[1], false)) KVASIR_TRY(out.append(indention.text()));
  for (size_t i = 0; i < lines.size(); ++i) {
    const auto [begin, end] = lines[i];
    KVASIR_TRY(interpreter.budget().spend(1));
    if (i != 0) {
      // The newline is the text's own, in Jinja's spelling.
      KVASIR_TRY(out.append("\n", text.trusted_at(lines[i - 1].second)));
      if (blank || begin != end) KVASIR_TRY(out.append(indention.text()));
    }
    KVASIR_TRY(out.append_slice(text, begin, end));
  }
  return interpreter.make_string(out.take());
}

Result<Value> escape_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "escape", {}, slots));
  const Text text = KVASIR_TRY(to_text(interpreter, value));
  TextBuilder out(interpreter.budget());
  size_t copied = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text.view()[i];
    const char* const entity = c == '&'    ? "&amp;"
                               : c == '<'  ? "&lt;"
                               : c == '>'  ? "&gt;"
                               : c == '"'  ? "&#34;"
                               : c == '\'' ? "&#39;"
                                           : nullptr;
    if (entity == nullptr) continue;
    KVASIR_TRY(out.append_slice(text, copied, i));
    KVASIR_TRY(out.append(entity, text.trusted_at(i)));
    copied = i + 1;
  }
  KVASIR_TRY(out.append_slice(text, copied, text.size()));
  return interpreter.make_string(out.take());
}

Result<Value> center_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "center", {"width"}, slots));
  const Text text = KVASIR_TRY(to_text(interpreter, value));
  return center_text(interpreter, text, KVASIR_TRY(int_argument(slots[0], 80, "width")));
}

Result<Value> format_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Text text = KVASIR_TRY(to_text(interpreter, value));
  if (arguments.named.empty()) {
    const Value values = KVASIR_TRY(interpreter.make_tuple(arguments.positional));
    return format_percent(interpreter, text, values);
  }
  if (!arguments.positional.empty()) return Interpreter::error("format takes positional or named arguments, not both");
  DictObject& dict = interpreter.heap().new_dict();
  for (const auto& [name, argument] : arguments.named) {
    dict.set(KVASIR_TRY(interpreter.make_string(std::string(name), true)), argument);
  }
  return format_percent(interpreter, text, Value(&dict));
}

Result<Value> truncate_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "truncate", {"length", "killwords", "end", "leeway"}, slots));
  const auto measured = length_of(value);
  if (!measured) return Interpreter::error(std::string("truncate needs a str, not ") + type_name(value));
  const Text dots("...", true);
  const Text& end = slots[2] ? *KVASIR_TRY(text_argument(slots[2], "end")) : dots;
  const auto end_length = static_cast<int64_t>(count_code_points(end.view()));
  const int64_t length = KVASIR_TRY(int_argument(slots[0], 255, "length"));
  const int64_t leeway = slots[3] && !slots[3]->is_none() ? KVASIR_TRY(int_argument(slots[3], 5, "leeway")) : 5;
  if (length < end_length) return Interpreter::error("truncate: length must be at least " + std::to_string(end_length));
  if (leeway < 0) return Interpreter::error("truncate: leeway cannot be negative");
  const auto have = static_cast<int64_t>(*measured);
  if (have <= length || have - length <= leeway) return value;
  if (!value.is_string()) return Interpreter::error(std::string("truncate needs a str, not ") + type_name(value));
  const Text& text = value.text();
  KVASIR_TRY(interpreter.budget().spend_bytes(text.weight()));
  size_t keep = 0;
  for (int64_t i = 0; i < length - end_length; ++i) keep += utf8_length(text.view()[keep]);
  if (!bool_argument(slots[1], false)) {
    const size_t space = text.view().substr(0, keep).rfind(' ');
    if (space != std::string_view::npos) keep = space;
  }
  Text out = text.slice(0, keep);
  out.append(end);
  return interpreter.make_string(std::move(out));
}

Result<Value> wordcount_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "wordcount", {}, slots));
  const Text text = KVASIR_TRY(to_text(interpreter, value));
  size_t words = 0;
  bool inside = false;
  for (size_t i = 0; i < text.size();) {
    const char32_t c = next_code_point(text.view(), i);
    const bool word = c == '_' || is_alpha(c) || is_digit(c);
    words += word && !inside ? 1 : 0;
    inside = word;
  }
  return Value::size(words);
}

Result<Value> urlencode_text(Interpreter& interpreter, const Text& text) {
  constexpr std::string_view kKept = "-._~/";
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  TextBuilder out(interpreter.budget());
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text.view()[i];
    const auto byte = static_cast<unsigned char>(c);
    const bool kept = byte < 0x80 && (is_alpha(byte) || is_digit(byte) || kKept.find(c) != std::string_view::npos);
    const std::string escaped{'%', kDigits[byte >> 4U], kDigits[byte & 0xFU]};
    KVASIR_TRY(out.append(kept ? std::string_view(&c, 1) : std::string_view(escaped), text.trusted_at(i)));
  }
  return interpreter.make_string(out.take());
}

Result<Value> urlencode_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "urlencode", {}, slots));
  if (value.is(Kind::kDict) || value.is_sequence())
    return Interpreter::error("urlencode of a collection is not supported; encode its texts");
  const Text text = KVASIR_TRY(to_text(interpreter, value));
  return urlencode_text(interpreter, text);
}

constexpr std::array kFilters{
    Entry<FilterFunction>{"upper", case_filter<Case::kUpper>},
    Entry<FilterFunction>{"lower", case_filter<Case::kLower>},
    Entry<FilterFunction>{"capitalize", case_filter<Case::kCapitalize>},
    Entry<FilterFunction>{"title", case_filter<Case::kTitle>},
    Entry<FilterFunction>{"string", string_filter},
    Entry<FilterFunction>{"safe", string_filter},
    Entry<FilterFunction>{"trim", trim_filter},
    Entry<FilterFunction>{"replace", replace_filter},
    Entry<FilterFunction>{"join", join_filter},
    Entry<FilterFunction>{"indent", indent_filter},
    Entry<FilterFunction>{"escape", escape_filter},
    Entry<FilterFunction>{"e", escape_filter},
    Entry<FilterFunction>{"forceescape", escape_filter},
    Entry<FilterFunction>{"center", center_filter},
    Entry<FilterFunction>{"format", format_filter},
    Entry<FilterFunction>{"truncate", truncate_filter},
    Entry<FilterFunction>{"wordcount", wordcount_filter},
    Entry<FilterFunction>{"urlencode", urlencode_filter},
};

}  // namespace

std::span<const Entry<FilterFunction>> text_filters() {
  return kFilters;
}

}  // namespace kvasir::jinja
