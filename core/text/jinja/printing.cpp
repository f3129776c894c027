#include "core/text/jinja/printing.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "core/text/jinja/operators.h"
#include "core/text/jinja/unicode.h"

namespace kvasir::jinja {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";

std::string hex_escape(std::string_view prefix, char32_t c, int digits) {
  std::string out(prefix);
  for (int shift = (digits - 1) * 4; shift >= 0; shift -= 4)
    out.push_back(kHexDigits[(c >> static_cast<uint32_t>(shift)) & 0xFU]);
  return out;
}

/// As Python's str.isprintable for one character.
bool is_printable(char32_t c) {
  if (c < 0x80) return c >= 0x20 && c < 0x7F;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    default:
      return true;
  }
}

/// What repr writes for `c` if not the character itself; empty if it is.
std::string repr_escape(char32_t c, char quote) {
  if (c == '\\') return "\\\\";
  if (c == static_cast<char32_t>(quote)) return std::string("\\") + quote;
  if (c == '\n') return "\\n";
  if (c == '\r') return "\\r";
  if (c == '\t') return "\\t";
  if (is_printable(c)) return {};
  if (c < 0x100) return hex_escape("\\x", c, 2);
  return c < 0x10000 ? hex_escape("\\u", c, 4) : hex_escape("\\U", c, 8);
}

std::string json_escape(char32_t c, bool ensure_ascii) {
  switch (c) {
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    case '\f':
      return "\\f";
    case '\b':
      return "\\b";
    default:
      break;
  }
  if (c < 0x20) return hex_escape("\\u", c, 4);
  if (!ensure_ascii || c < 0x7F) return {};
  if (c < 0x10000) return hex_escape("\\u", c, 4);
  const char32_t rest = c - 0x10000;
  return hex_escape("\\u", 0xD800 + (rest >> 10U), 4) + hex_escape("\\u", 0xDC00 + (rest & 0x3FFU), 4);
}

/// Appends `text` with some characters replaced; an escape has the trust of its character.
template <class Escape>
Result<void> append_escaped(TextBuilder& out, const Text& text, Escape escape) {
  const auto bytes = text.view();
  size_t copied = 0;
  for (size_t i = 0; i < bytes.size();) {
    const size_t begin = i;
    const std::string replacement = escape(next_code_point(bytes, i));
    if (replacement.empty()) continue;
    KVASIR_TRY(out.append_slice(text, copied, begin));
    KVASIR_TRY(out.append(replacement, text.trusted_at(begin)));
    copied = i;
  }
  return out.append_slice(text, copied, bytes.size());
}

Result<void> append_string_repr(TextBuilder& out, const Text& text) {
  const bool double_quotes =
      text.view().find('\'') != std::string_view::npos && text.view().find('"') == std::string_view::npos;
  const char quote = double_quotes ? '"' : '\'';
  const bool trusted = text.all_trusted();
  KVASIR_TRY(out.append(std::string_view(&quote, 1), trusted));
  KVASIR_TRY(append_escaped(out, text, [quote](char32_t c) { return repr_escape(c, quote); }));
  return out.append(std::string_view(&quote, 1), trusted);
}

Result<void> append_dict_repr(Interpreter& interpreter, TextBuilder& out, const DictObject& dict) {
  const bool trusted = !dict.tainted;
  KVASIR_TRY(out.append("{", trusted));
  bool first = true;
  for (const auto& [key, value] : dict.entries) {
    if (!first) KVASIR_TRY(out.append(", ", trusted));
    first = false;
    KVASIR_TRY(append_repr(interpreter, out, key));
    KVASIR_TRY(out.append(": ", trusted));
    KVASIR_TRY(append_repr(interpreter, out, value));
  }
  return out.append("}", trusted);
}

Result<void> append_list_repr(Interpreter& interpreter, TextBuilder& out, const Value& list) {
  const bool trusted = !list.tainted();
  const bool tuple = list.is(Kind::kTuple);
  const auto view = list.list().view;
  if (view != ListView::kPlain) {
    KVASIR_TRY(out.append(view == ListView::kKeys     ? "dict_keys("
                          : view == ListView::kValues ? "dict_values("
                                                      : "dict_items(",
                          trusted));
  }
  KVASIR_TRY(out.append(tuple ? "(" : "[", trusted));
  bool first = true;
  for (const auto& item : list.items()) {
    if (!first) KVASIR_TRY(out.append(", ", trusted));
    first = false;
    KVASIR_TRY(append_repr(interpreter, out, item));
  }
  if (tuple && list.items().size() == 1) KVASIR_TRY(out.append(",", trusted));
  KVASIR_TRY(out.append(tuple ? ")" : "]", trusted));
  return view == ListView::kPlain ? Result<void>() : out.append(")", trusted);
}

/// Numbers, booleans and none, as Python prints them.
std::string scalar_repr(const Value& value) {
  switch (value.kind()) {
    case Kind::kNone:
      return "None";
    case Kind::kBool:
      return value.as_bool() ? "True" : "False";
    case Kind::kInt:
      return std::to_string(value.as_int());
    case Kind::kFloat:
      return float_repr(value.as_double());
    default:
      return {};
  }
}

std::string scalar_json(const Value& value) {
  switch (value.kind()) {
    case Kind::kNone:
      return "null";
    case Kind::kBool:
      return value.as_bool() ? "true" : "false";
    case Kind::kFloat:
      if (std::isnan(value.as_double())) return "NaN";
      if (std::isinf(value.as_double())) return value.as_double() > 0 ? "Infinity" : "-Infinity";
      break;
    default:
      break;
  }
  return scalar_repr(value);
}

class JsonWriter {
 public:
  JsonWriter(Interpreter& interpreter, TextBuilder& out, const JsonStyle& style)
      : interpreter_(interpreter), out_(out), style_(style) {}

  Result<void> write(const Value& value) {
    KVASIR_TRY(interpreter_.budget().spend(1));
    switch (value.kind()) {
      case Kind::kString:
        return string(value.text());
      case Kind::kList:
      case Kind::kTuple:
        return list(value);
      case Kind::kDict:
        return dict(value.dict());
      case Kind::kNone:
      case Kind::kBool:
      case Kind::kInt:
      case Kind::kFloat:
        return out_.append(scalar_json(value), !value.tainted());
      case Kind::kUndefined:
        return Interpreter::error("tojson: " + value.why());
      default:
        return Interpreter::error(std::string("tojson: a ") + type_name(value) + " cannot be written as JSON");
    }
  }

 private:
  Result<void> string(const Text& text) {
    const bool trusted = text.all_trusted();
    KVASIR_TRY(out_.append("\"", trusted));
    KVASIR_TRY(append_escaped(out_, text, [this](char32_t c) { return json_escape(c, style_.ensure_ascii); }));
    return out_.append("\"", trusted);
  }

  /// Separators are the template's, unless the container is the user's.
  Result<void> punctuation(const Text& text, bool tainted) {
    return tainted ? out_.append(text.view(), false) : out_.append(text);
  }

  Result<void> new_line(bool tainted) {
    if (!style_.indent) return {};
    KVASIR_TRY(out_.append("\n", !tainted));
    for (uint32_t i = 0; i < level_; ++i) KVASIR_TRY(punctuation(*style_.indent, tainted));
    return {};
  }

  Result<void> list(const Value& value) {
    const Descent descent(interpreter_.value_depth());
    KVASIR_TRY(descent.at_most(interpreter_.max_value_depth(), "a value given to tojson"));
    const bool tainted = value.tainted();
    if (value.items().empty()) return out_.append("[]", !tainted);
    KVASIR_TRY(out_.append("[", !tainted));
    ++level_;
    for (size_t i = 0; i < value.items().size(); ++i) {
      if (i != 0) KVASIR_TRY(punctuation(style_.item_separator, tainted));
      KVASIR_TRY(new_line(tainted));
      KVASIR_TRY(write(value.items()[i]));
    }
    --level_;
    KVASIR_TRY(new_line(tainted));
    return out_.append("]", !tainted);
  }

  Result<void> dict(const DictObject& object) {
    const Descent descent(interpreter_.value_depth());
    KVASIR_TRY(descent.at_most(interpreter_.max_value_depth(), "a value given to tojson"));
    const bool tainted = object.tainted;
    if (object.entries.empty()) return out_.append("{}", !tainted);
    KVASIR_TRY(out_.append("{", !tainted));
    ++level_;
    const auto indices = KVASIR_TRY(key_order(object));
    bool first = true;
    for (const size_t index : indices) {
      const auto& [name, value] = object.entries[index];
      if (!first) KVASIR_TRY(punctuation(style_.item_separator, tainted));
      first = false;
      KVASIR_TRY(new_line(tainted));
      KVASIR_TRY(key(name));
      KVASIR_TRY(punctuation(style_.key_separator, tainted));
      KVASIR_TRY(write(value));
    }
    --level_;
    KVASIR_TRY(new_line(tainted));
    return out_.append("}", !tainted);
  }

  Result<std::vector<size_t>> key_order(const DictObject& object) {
    KVASIR_TRY(interpreter_.budget().spend_items(object.entries.size()));
    if (style_.sort_keys) {
      std::vector<Value> keys;
      keys.reserve(object.entries.size());
      for (const auto& [name, value] : object.entries) keys.push_back(name);
      return sorted_indices(interpreter_, keys, false);
    }
    std::vector<size_t> indices(object.entries.size());
    for (size_t i = 0; i < indices.size(); ++i) indices[i] = i;
    return indices;
  }

  Result<void> key(const Value& name) {
    if (name.is_string()) return string(name.text());
    if (!name.is_none() && !name.is_number()) {
      return Interpreter::error(std::string("tojson: a ") + type_name(name) + " cannot be a key in JSON");
    }
    std::string quoted_name(1, '"');
    quoted_name.append(scalar_json(name)).push_back('"');
    return out_.append(quoted_name, !name.tainted());
  }

  Interpreter& interpreter_;
  TextBuilder& out_;
  const JsonStyle& style_;
  uint32_t level_ = 0;
};

}  // namespace

std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  std::array<char, 40> buffer{};
  const auto scientific =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::scientific);
  const std::string_view digits(buffer.data(), static_cast<size_t>(scientific.ptr - buffer.data()));
  int exponent = 0;
  const size_t e = digits.find('e');
  const char* const exponent_begin = digits.data() + e + (digits[e + 1] == '+' ? 2 : 1);
  std::from_chars(exponent_begin, digits.data() + digits.size(), exponent);
  if (exponent < -4 || exponent >= 16) return std::string(digits);
  std::array<char, 40> plain{};
  const auto fixed = std::to_chars(plain.data(), plain.data() + plain.size(), value, std::chars_format::fixed);
  std::string out(plain.data(), fixed.ptr);
  if (out.find('.') == std::string::npos) out += ".0";
  return out;
}

Result<void> append_repr(Interpreter& interpreter, TextBuilder& out, const Value& value) {
  KVASIR_TRY(interpreter.budget().spend(1));
  const Descent descent(interpreter.value_depth());
  KVASIR_TRY(descent.at_most(interpreter.max_value_depth(), "a printed value"));
  switch (value.kind()) {
    case Kind::kUndefined:
      return out.append("Undefined", true);
    case Kind::kString:
      return append_string_repr(out, value.text());
    case Kind::kList:
    case Kind::kTuple:
      return append_list_repr(interpreter, out, value);
    case Kind::kDict:
      return append_dict_repr(interpreter, out, value.dict());
    case Kind::kNamespace: {
      KVASIR_TRY(out.append("<Namespace {", true));
      bool first = true;
      for (const auto& [name, attribute] : value.name_space().attributes) {
        KVASIR_TRY(out.append(first ? "'" : ", '", true));
        first = false;
        KVASIR_TRY(out.append(name, true));
        KVASIR_TRY(out.append("': ", true));
        KVASIR_TRY(append_repr(interpreter, out, attribute));
      }
      return out.append("}>", true);
    }
    case Kind::kMacro:
    case Kind::kNative:
    case Kind::kLoop:
    case Kind::kCycle:
      return out.append(std::string("<") + type_name(value) + ">", true);
    default:
      return out.append(scalar_repr(value), !value.tainted());
  }
}

Result<void> append_str(Interpreter& interpreter, TextBuilder& out, const Value& value) {
  if (value.is_string()) return out.append(value.text());
  if (value.is_undefined()) return {};
  return append_repr(interpreter, out, value);
}

Result<Text> to_text(Interpreter& interpreter, const Value& value) {
  if (value.is_string()) {
    KVASIR_TRY(interpreter.budget().spend_bytes(value.text().weight()));
    return value.text();
  }
  TextBuilder out(interpreter.budget());
  KVASIR_TRY(append_str(interpreter, out, value));
  return out.take();
}

Result<void> append_json(Interpreter& interpreter, TextBuilder& out, const Value& value, const JsonStyle& style) {
  return JsonWriter(interpreter, out, style).write(value);
}

}  // namespace kvasir::jinja
