// Python's str methods that chat templates use.
#include <algorithm>
#include <array>

#include "core/text/jinja/format.h"
#include "core/text/jinja/library.h"
#include "core/text/jinja/operators.h"
#include "core/text/jinja/unicode.h"

namespace kvasir::jinja {
namespace {

using Slots = std::array<std::optional<Value>, 3>;

bool is_given(const std::optional<Value>& value) {
  return value && !value->is_none();
}

template <Case kTo>
Result<Value> to_case(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "this method", {}, slots));
  return change_case(interpreter, self.text(), kTo);
}

/// str.title: a new word after every character that is not a letter, unlike the filter.
Result<Value> title(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "title", {}, slots));
  const Text& text = self.text();
  KVASIR_TRY(interpreter.budget().spend_bytes(text.weight()));
  Text out;
  std::string mapped;
  bool after_letter = false;
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    const char32_t c = next_code_point(text.view(), i);
    mapped.clear();
    after_letter ? append_lower(mapped, c) : append_title(mapped, c);
    out.append(mapped, text.trusted_at(begin));
    after_letter = is_upper(c) || is_lower(c);
  }
  return interpreter.make_string(std::move(out));
}

template <Side kSide>
Result<Value> strip(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "strip", {"chars"}, slots));
  const Text* const characters = is_given(slots[0]) ? KVASIR_TRY(text_argument(slots[0], "chars")) : nullptr;
  return strip_text(interpreter, self.text(), characters, kSide);
}

/// Last offset at which `needle` begins in text[0, end). Linear: searches the reversed bytes.
size_t rfind_bytes(std::string_view text, std::string_view needle) {
  const std::string reversed(text.rbegin(), text.rend());
  const std::string reversed_needle(needle.rbegin(), needle.rend());
  const size_t found = find_bytes(reversed, reversed_needle);
  return found == std::string_view::npos ? found : text.size() - found - needle.size();
}

Result<void> split_on_space(Interpreter& interpreter, const Text& text, int64_t limit, std::vector<Value>& out) {
  const auto bytes = text.view();
  size_t i = 0;
  const auto skip_while = [&](bool space) {
    while (i < bytes.size()) {
      size_t next = i;
      if (is_space(next_code_point(bytes, next)) != space) break;
      i = next;
    }
  };
  skip_while(true);
  while (i < bytes.size()) {
    const size_t begin = i;
    if (limit >= 0 && static_cast<int64_t>(out.size()) == limit) {
      out.push_back(KVASIR_TRY(interpreter.make_string(text.slice(begin, bytes.size()))));
      break;
    }
    skip_while(false);
    out.push_back(KVASIR_TRY(interpreter.make_string(text.slice(begin, i))));
    skip_while(true);
  }
  return {};
}

Result<void> rsplit_on_space(Interpreter& interpreter, const Text& text, int64_t limit, std::vector<Value>& out) {
  const auto bytes = text.view();
  size_t i = bytes.size();
  const auto skip_while = [&](bool space) {
    while (i > 0) {
      const size_t previous = previous_offset(bytes, i);
      size_t next = previous;
      if (is_space(next_code_point(bytes, next)) != space) break;
      i = previous;
    }
  };
  skip_while(true);
  while (i > 0) {
    const size_t end = i;
    if (limit >= 0 && static_cast<int64_t>(out.size()) == limit) {
      out.push_back(KVASIR_TRY(interpreter.make_string(text.slice(0, end))));
      break;
    }
    skip_while(false);
    out.push_back(KVASIR_TRY(interpreter.make_string(text.slice(i, end))));
    skip_while(true);
  }
  std::reverse(out.begin(), out.end());
  return {};
}

Result<void> split_on(Interpreter& interpreter, const Text& text, std::string_view separator, int64_t limit,
                      std::vector<Value>& out) {
  size_t begin = 0;
  while (limit < 0 || static_cast<int64_t>(out.size()) < limit) {
    const size_t found = find_bytes(text.view(), separator, begin);
    if (found == std::string_view::npos) break;
    out.push_back(KVASIR_TRY(interpreter.make_string(text.slice(begin, found))));
    begin = found + separator.size();
  }
  out.push_back(KVASIR_TRY(interpreter.make_string(text.slice(begin, text.size()))));
  return {};
}

Result<void> rsplit_on(Interpreter& interpreter, const Text& text, std::string_view separator, int64_t limit,
                       std::vector<Value>& out) {
  // Matches are taken from the right: on the reversed text from the left.
  const std::string reversed(text.view().rbegin(), text.view().rend());
  const std::string reversed_separator(separator.rbegin(), separator.rend());
  size_t begin = 0;
  while (limit < 0 || static_cast<int64_t>(out.size()) < limit) {
    const size_t found = find_bytes(reversed, reversed_separator, begin);
    if (found == std::string_view::npos) break;
    out.push_back(KVASIR_TRY(interpreter.make_string(text.slice(text.size() - found, text.size() - begin))));
    begin = found + separator.size();
  }
  out.push_back(KVASIR_TRY(interpreter.make_string(text.slice(0, text.size() - begin))));
  std::reverse(out.begin(), out.end());
  return {};
}

template <bool kFromRight>
Result<Value> split(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "split", {"sep", "maxsplit"}, slots));
  const int64_t limit = KVASIR_TRY(int_argument(slots[1], -1, "maxsplit"));
  KVASIR_TRY(interpreter.budget().spend_bytes(self.text().size()));
  std::vector<Value> parts;
  if (!is_given(slots[0])) {
    KVASIR_TRY(kFromRight ? rsplit_on_space(interpreter, self.text(), limit, parts)
                          : split_on_space(interpreter, self.text(), limit, parts));
  } else {
    const Text& separator = *KVASIR_TRY(text_argument(slots[0], "sep"));
    if (separator.empty()) return Interpreter::error("split: the separator is empty");
    KVASIR_TRY(kFromRight ? rsplit_on(interpreter, self.text(), separator.view(), limit, parts)
                          : split_on(interpreter, self.text(), separator.view(), limit, parts));
  }
  return interpreter.make_list(std::move(parts));
}

Result<Value> splitlines(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "splitlines", {"keepends"}, slots));
  const Text& text = self.text();
  KVASIR_TRY(interpreter.budget().spend_bytes(text.size()));
  const auto ranges = line_ranges(text.view());
  std::vector<Value> lines;
  for (size_t i = 0; i < ranges.size(); ++i) {
    const size_t with_end = i + 1 < ranges.size() ? ranges[i + 1].first : text.size();
    lines.push_back(KVASIR_TRY(interpreter.make_string(
        text.slice(ranges[i].first, bool_argument(slots[0], false) ? with_end : ranges[i].second))));
  }
  return interpreter.make_list(std::move(lines));
}

/// startswith and endswith; the argument may be a tuple of texts.
template <bool kStart>
Result<Value> has_affix(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, kStart ? "startswith" : "endswith", {"prefix", "start", "end"}, slots, 1));
  Value text = self;
  if (slots[1] || slots[2]) {
    text = KVASIR_TRY(slice_value(interpreter, self, slots[1].value_or(Value::none()), slots[2].value_or(Value::none()),
                                  Value::none()));
  }
  const auto matches = [&](const Value& affix) -> Result<bool> {
    const auto bytes = KVASIR_TRY(text_argument(affix, "the text to look for"))->view();
    KVASIR_TRY(interpreter.budget().spend(1 + bytes.size() / 64));
    return kStart ? text.view().starts_with(bytes) : text.view().ends_with(bytes);
  };
  if (!slots[0]->is(Kind::kTuple)) return Value::boolean(KVASIR_TRY(matches(*slots[0])));
  for (const auto& affix : slots[0]->items()) {
    if (KVASIR_TRY(matches(affix))) return Value::boolean(true);
  }
  return Value::boolean(false);
}

Result<Value> replace(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "replace", {"old", "new", "count"}, slots, 2));
  const Text& from = *KVASIR_TRY(text_argument(slots[0], "old"));
  const Text& to = *KVASIR_TRY(text_argument(slots[1], "new"));
  return replace_text(interpreter, self.text(), from, to, KVASIR_TRY(int_argument(slots[2], -1, "count")));
}

template <bool kFromRight, bool kMustExist>
Result<Value> find(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, kMustExist ? "index" : "find", {"sub", "start", "end"}, slots, 1));
  const Text& needle = *KVASIR_TRY(text_argument(slots[0], "sub"));
  const auto length = static_cast<int64_t>(self.string().length());
  const auto clamp = [length](int64_t i) { return std::clamp<int64_t>(i < 0 ? i + length : i, 0, length); };
  const int64_t start = is_given(slots[1]) ? KVASIR_TRY(int_argument(slots[1], 0, "start")) : 0;
  const int64_t stop = is_given(slots[2]) ? KVASIR_TRY(int_argument(slots[2], 0, "end")) : length;
  KVASIR_TRY(interpreter.budget().spend_bytes(self.text().size()));
  size_t found = std::string_view::npos;
  const bool possible = start <= length && clamp(start) <= clamp(stop);
  if (possible) {
    const auto [begin, end] =
        character_range(self.string(), static_cast<size_t>(clamp(start)), static_cast<size_t>(clamp(stop)));
    const auto window = self.view().substr(begin, end - begin);
    found = kFromRight ? rfind_bytes(window, needle.view()) : find_bytes(window, needle.view());
    if (found != std::string_view::npos) found += begin;
  }
  if (found != std::string_view::npos) return Value::size(count_code_points(self.view().substr(0, found)));
  if (kMustExist) return Interpreter::error("index: the text does not occur");
  return Value::integer(-1);
}

Result<Value> count(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "count", {"sub"}, slots, 1));
  const Text& needle = *KVASIR_TRY(text_argument(slots[0], "sub"));
  KVASIR_TRY(interpreter.budget().spend_bytes(self.text().size()));
  if (needle.empty()) return Value::size(self.string().length() + 1);
  size_t n = 0;
  for (size_t i = 0; (i = find_bytes(self.view(), needle.view(), i)) != std::string_view::npos; i += needle.size()) ++n;
  return Value::size(n);
}

Result<Value> join(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "join", {"iterable"}, slots, 1));
  const auto* const items = KVASIR_TRY(interpreter.items_of(*slots[0]));
  for (const auto& item : *items) KVASIR_TRY(text_argument(item, "each item of join"));
  return join_texts(interpreter, self.text(), *items);
}

Result<Value> format(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  return format_braces(interpreter, self.text(), arguments);
}

template <bool kPrefix>
Result<Value> remove_affix(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, kPrefix ? "removeprefix" : "removesuffix", {"affix"}, slots, 1));
  const Text& affix = *KVASIR_TRY(text_argument(slots[0], "the affix"));
  const Text& text = self.text();
  if (kPrefix && text.view().starts_with(affix.view()))
    return interpreter.make_string(text.slice(affix.size(), text.size()));
  if (!kPrefix && text.view().ends_with(affix.view()))
    return interpreter.make_string(text.slice(0, text.size() - affix.size()));
  return self;
}

template <bool kFromRight>
Result<Value> partition(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "partition", {"sep"}, slots, 1));
  const Text& separator = *KVASIR_TRY(text_argument(slots[0], "sep"));
  if (separator.empty()) return Interpreter::error("partition: the separator is empty");
  const Text& text = self.text();
  KVASIR_TRY(interpreter.budget().spend_bytes(text.size()));
  const size_t found =
      kFromRight ? rfind_bytes(text.view(), separator.view()) : find_bytes(text.view(), separator.view());
  const Value nothing = KVASIR_TRY(interpreter.make_string({}, true));
  if (found == std::string_view::npos) {
    return interpreter.make_tuple(kFromRight ? std::vector<Value>{nothing, nothing, self}
                                             : std::vector<Value>{self, nothing, nothing});
  }
  const size_t after = found + separator.size();
  return interpreter.make_tuple({KVASIR_TRY(interpreter.make_string(text.slice(0, found))),
                                 KVASIR_TRY(interpreter.make_string(text.slice(found, after))),
                                 KVASIR_TRY(interpreter.make_string(text.slice(after, text.size())))});
}

bool alphanumeric(char32_t c) {
  return is_alpha(c) || is_digit(c);
}

template <bool (*kIs)(char32_t)>
Result<Value> all_characters(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "this method", {}, slots));
  KVASIR_TRY(interpreter.budget().spend_bytes(self.text().size()));
  for (size_t i = 0; i < self.view().size();) {
    if (!kIs(next_code_point(self.view(), i))) return Value::boolean(false);
  }
  return Value::boolean(!self.view().empty());
}

template <bool kUpper>
Result<Value> is_cased(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  return Value::boolean(KVASIR_TRY(interpreter.apply_test(kUpper ? "upper" : "lower", self, arguments)));
}

enum class Pad : uint8_t { kLeft, kRight, kZeros };

/// ljust, rjust (with a fill character) and zfill.
template <Pad kPad>
Result<Value> pad(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "this method", {"width", "fillchar"}, slots, 1));
  const int64_t width = KVASIR_TRY(int_argument(slots[0], 0, "width"));
  const Text blank(kPad == Pad::kZeros ? "0" : " ", true);
  const Text& fill = slots[1] ? *KVASIR_TRY(text_argument(slots[1], "fillchar")) : blank;
  if (count_code_points(fill.view()) != 1) return Interpreter::error("the fill must be one character");
  const auto length = static_cast<int64_t>(self.string().length());
  const int64_t missing = width > length ? width - length : 0;
  const Text& text = self.text();
  const bool sign = kPad == Pad::kZeros && (text.view().starts_with('-') || text.view().starts_with('+'));
  const size_t head = kPad == Pad::kRight ? text.size() : sign ? 1 : 0;
  TextBuilder out(interpreter.budget());
  KVASIR_TRY(out.append_slice(text, 0, head));
  for (int64_t i = 0; i < missing; ++i) KVASIR_TRY(out.append(fill));
  KVASIR_TRY(out.append_slice(text, head, text.size()));
  return interpreter.make_string(out.take());
}

Result<Value> center(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Slots slots;
  KVASIR_TRY(bind(arguments, "center", {"width"}, slots, 1));
  return center_text(interpreter, self.text(), KVASIR_TRY(int_argument(slots[0], 0, "width")));
}

constexpr std::array kMethods{
    Entry<NativeFunction>{"upper", to_case<Case::kUpper>},
    Entry<NativeFunction>{"lower", to_case<Case::kLower>},
    Entry<NativeFunction>{"casefold", to_case<Case::kLower>},
    Entry<NativeFunction>{"capitalize", to_case<Case::kCapitalize>},
    Entry<NativeFunction>{"swapcase", to_case<Case::kSwap>},
    Entry<NativeFunction>{"title", title},
    Entry<NativeFunction>{"strip", strip<Side::kBoth>},
    Entry<NativeFunction>{"lstrip", strip<Side::kLeft>},
    Entry<NativeFunction>{"rstrip", strip<Side::kRight>},
    Entry<NativeFunction>{"split", split<false>},
    Entry<NativeFunction>{"rsplit", split<true>},
    Entry<NativeFunction>{"splitlines", splitlines},
    Entry<NativeFunction>{"startswith", has_affix<true>},
    Entry<NativeFunction>{"endswith", has_affix<false>},
    Entry<NativeFunction>{"replace", replace},
    Entry<NativeFunction>{"find", find<false, false>},
    Entry<NativeFunction>{"rfind", find<true, false>},
    Entry<NativeFunction>{"index", find<false, true>},
    Entry<NativeFunction>{"rindex", find<true, true>},
    Entry<NativeFunction>{"count", count},
    Entry<NativeFunction>{"join", join},
    Entry<NativeFunction>{"format", format},
    Entry<NativeFunction>{"removeprefix", remove_affix<true>},
    Entry<NativeFunction>{"removesuffix", remove_affix<false>},
    Entry<NativeFunction>{"partition", partition<false>},
    Entry<NativeFunction>{"rpartition", partition<true>},
    Entry<NativeFunction>{"isalpha", all_characters<is_alpha>},
    Entry<NativeFunction>{"isalnum", all_characters<alphanumeric>},
    Entry<NativeFunction>{"isdigit", all_characters<is_digit>},
    Entry<NativeFunction>{"isdecimal", all_characters<is_digit>},
    Entry<NativeFunction>{"isnumeric", all_characters<is_digit>},
    Entry<NativeFunction>{"isspace", all_characters<is_space>},
    Entry<NativeFunction>{"isupper", is_cased<true>},
    Entry<NativeFunction>{"islower", is_cased<false>},
    Entry<NativeFunction>{"ljust", pad<Pad::kRight>},
    Entry<NativeFunction>{"rjust", pad<Pad::kLeft>},
    Entry<NativeFunction>{"zfill", pad<Pad::kZeros>},
    Entry<NativeFunction>{"center", center},
};

}  // namespace

std::span<const Entry<NativeFunction>> string_methods() {
  return kMethods;
}

}  // namespace kvasir::jinja
