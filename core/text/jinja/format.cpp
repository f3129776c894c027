#include "core/text/jinja/format.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstdio>

#include "core/text/jinja/operators.h"
#include "core/text/jinja/printing.h"
#include "core/text/jinja/unicode.h"

namespace kvasir::jinja {
namespace {

/// Both notations come down to this.
struct Spec {
  char align = '\0';      ///< < > ^ = or none
  std::string fill = " ";
  char sign = '-';        ///< - + or space
  bool alternate = false;
  bool thousands = false;
  size_t width = 0;
  std::optional<size_t> precision;
  char type = '\0';
};

constexpr size_t kMaxPrecision = 1000;

Failure bad_pattern(const std::string& what) { return Interpreter::error("format: " + what); }

/// Reads digits; a width beyond every limit is refused before it can be used.
Result<size_t> read_number(std::string_view pattern, size_t& i) {
  size_t value = 0;
  while (i < pattern.size() && pattern[i] >= '0' && pattern[i] <= '9') {
    value = value * 10 + static_cast<size_t>(pattern[i++] - '0');
    if (value > 100'000'000) return Failure{Code::kTooLarge, "format: the width or precision is too large (template output limit)"};
  }
  return value;
}

/// Adds fill characters on the side that `align` asks for. `prefix_bytes` at the front (a sign) stay there for '='.
Result<void> append_aligned(TextBuilder& out, const Text& body, const Spec& spec, char default_align, size_t prefix_bytes) {
  const size_t length = count_code_points(body.view());
  const size_t padding = spec.width > length ? spec.width - length : 0;
  const char align = spec.align == '\0' ? default_align : spec.align;
  const size_t left = align == '>' || align == '=' ? padding : align == '^' ? padding / 2 : 0;
  const auto fill = [&](size_t count) -> Result<void> {
    for (size_t i = 0; i < count; ++i) KVASIR_TRY(out.append(spec.fill, true));
    return {};
  };
  const size_t head = align == '=' ? prefix_bytes : 0;
  KVASIR_TRY(out.append_slice(body, 0, head));
  KVASIR_TRY(fill(left));
  KVASIR_TRY(out.append_slice(body, head, body.size()));
  return fill(padding - left);
}

std::string with_thousands(const std::string& digits) {
  const size_t whole = std::min(digits.find_first_not_of("0123456789"), digits.size());
  std::string out;
  for (size_t i = 0; i < whole; ++i) {
    if (i != 0 && (whole - i) % 3 == 0) out.push_back(',');
    out.push_back(digits[i]);
  }
  return out + digits.substr(whole);
}

std::string in_base(uint64_t value, unsigned base, bool upper) {
  std::string out;
  do {
    const auto digit = static_cast<char>(value % base);
    out.push_back(static_cast<char>(digit < 10 ? '0' + digit : (upper ? 'A' : 'a') + digit - 10));
    value /= base;
  } while (value != 0);
  std::reverse(out.begin(), out.end());
  return out;
}

std::string integer_digits(uint64_t magnitude, const Spec& spec) {
  const auto prefixed = [&](const char* prefix, std::string digits) { return spec.alternate ? prefix + digits : digits; };
  switch (spec.type) {
    case 'x': return prefixed("0x", in_base(magnitude, 16, false));
    case 'X': return prefixed("0X", in_base(magnitude, 16, true));
    case 'o': return prefixed("0o", in_base(magnitude, 8, false));
    case 'b': return prefixed("0b", in_base(magnitude, 2, false));
    default: return std::to_string(magnitude);
  }
}

Result<std::string> real_digits(double magnitude, const Spec& spec) {
  if (spec.precision.value_or(0) > kMaxPrecision) return bad_pattern("the precision is too large");
  if (std::isinf(magnitude)) return std::string("inf");
  if (std::isnan(magnitude)) return std::string("nan");
  if (spec.type == '\0' && !spec.precision) return float_repr(magnitude);
  const bool percent = spec.type == '%';
  const char type = percent || spec.type == 'F' ? 'f' : spec.type == '\0' ? 'g' : spec.type;
  const std::string pattern = std::string("%.*") + type;
  const int precision = static_cast<int>(spec.precision.value_or(6));
  const double shown = percent ? magnitude * 100.0 : magnitude;
  std::string out(static_cast<size_t>(precision) + 400, '\0');
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"  // built from our own letters above, never from the template
  const int written = std::snprintf(out.data(), out.size(), pattern.c_str(), precision, shown);
#pragma GCC diagnostic pop
  out.resize(static_cast<size_t>(std::max(written, 0)));
  if (spec.type == '\0' && out.find_first_of(".en") == std::string::npos) out += ".0";
  return percent ? out + "%" : out;
}

Result<void> append_number(TextBuilder& out, const Value& value, const Spec& spec) {
  constexpr std::string_view kRealTypes = "eEfFgG%";
  const bool real = value.is(Kind::kFloat) || kRealTypes.find(spec.type) != std::string_view::npos;
  std::string body;
  bool negative = false;
  if (real) {
    const double number = value.as_double();
    negative = std::signbit(number) && !std::isnan(number);
    body = KVASIR_TRY(real_digits(std::fabs(number), spec));
  } else {
    const int64_t number = value.as_int();
    negative = number < 0;
    body = integer_digits(negative ? ~static_cast<uint64_t>(number) + 1 : static_cast<uint64_t>(number), spec);
  }
  if (spec.thousands) body = with_thousands(body);
  if (negative) {
    body.insert(body.begin(), '-');
  } else if (spec.sign != '-') {
    body.insert(body.begin(), spec.sign);
  }
  const size_t prefix = body[0] == '-' || body[0] == '+' || body[0] == ' ' ? 1 : 0;
  return append_aligned(out, Text(std::move(body), !value.tainted()), spec, '>', prefix);
}

Result<void> append_string(TextBuilder& out, Text text, const Spec& spec, char default_align) {
  if (spec.precision && *spec.precision < text.size()) {
    size_t end = 0;
    for (size_t i = 0; i < *spec.precision && end < text.size(); ++i) end += utf8_length(text.view()[end]);
    text = text.slice(0, end);
  }
  return append_aligned(out, text, spec, default_align, 0);
}

// ------------------------------------------------------------------------------------------------------------ 'x' % y

class Percent {
 public:
  Percent(Interpreter& interpreter, const Text& pattern, const Value& values)
      : interpreter_(interpreter), text_(pattern), pattern_(pattern.view()), values_(values), out_(interpreter.budget()) {}

  Result<Value> run() {
    size_t copied = 0;
    size_t i = 0;
    while ((i = pattern_.find('%', i)) != std::string_view::npos) {
      KVASIR_TRY(interpreter_.budget().spend(1));
      KVASIR_TRY(out_.append_slice(text_, copied, i));
      KVASIR_TRY(conversion(i));
      copied = i;
    }
    KVASIR_TRY(out_.append_slice(text_, copied, pattern_.size()));
    // Python does not mind unused values that could be looked into by name.
    const bool container = values_.is(Kind::kDict) || values_.is(Kind::kList) || values_.is_undefined();
    const bool all_used = values_.is(Kind::kTuple) ? next_ == values_.items().size() : next_ == 1 || container;
    if (!all_used) return bad_pattern("not all values were used by the text before %");
    return interpreter_.make_string(out_.take());
  }

 private:
  Result<Value> next_value() {
    if (values_.is(Kind::kTuple)) {
      if (next_ >= values_.items().size()) return bad_pattern("too few values for the text before %");
      return values_.items()[next_++];
    }
    if (next_++ > 0) return bad_pattern("too few values for the text before %");
    return values_;
  }

  Result<void> conversion(size_t& i) {
    const size_t begin = i++;
    std::optional<Value> value;
    if (i < pattern_.size() && pattern_[i] == '(') {
      const size_t close = pattern_.find(')', i);
      if (close == std::string_view::npos) return bad_pattern("')' is missing after '%('");
      if (!values_.is(Kind::kDict)) return bad_pattern("'%(name)s' needs a dict after %");
      const auto key = pattern_.substr(i + 1, close - i - 1);
      const Value* const found = values_.dict().find(key);
      if (found == nullptr) return bad_pattern("the dict after % has no '" + std::string(key.substr(0, 80)) + "'");
      value = *found;
      i = close + 1;
    }
    Spec spec;
    bool zeros = false;
    bool left = false;
    for (; i < pattern_.size() && std::string_view("-+ #0").find(pattern_[i]) != std::string_view::npos; ++i) {
      left = left || pattern_[i] == '-';
      zeros = zeros || pattern_[i] == '0';
      spec.alternate = spec.alternate || pattern_[i] == '#';
      if (pattern_[i] == '+' || (pattern_[i] == ' ' && spec.sign == '-')) spec.sign = pattern_[i];
    }
    spec.width = KVASIR_TRY(read_number(pattern_, i));
    if (i < pattern_.size() && pattern_[i] == '.') spec.precision = KVASIR_TRY(read_number(pattern_, ++i));
    if (i >= pattern_.size()) return bad_pattern("the text before % ends in the middle of a conversion");
    const char type = pattern_[i++];
    if (type == '%') return out_.append_slice(text_, begin, begin + 1);
    if (!value) value = KVASIR_TRY(next_value());
    spec.align = left ? '<' : '>';
    return convert(type, *value, spec, zeros && !left);
  }

  Result<void> convert(char type, const Value& value, Spec& spec, bool zeros) {
    if (type == 's') return append_string(out_, KVASIR_TRY(to_text(interpreter_, value)), spec, '>');
    if (type == 'r') {
      TextBuilder inner(interpreter_.budget());
      KVASIR_TRY(append_repr(interpreter_, inner, value));
      return append_string(out_, inner.take(), spec, '>');
    }
    constexpr std::string_view kWhole = "diuxXo";
    constexpr std::string_view kReal = "eEfFgG";
    const bool whole = kWhole.find(type) != std::string_view::npos;
    if (!whole && kReal.find(type) == std::string_view::npos) {
      return bad_pattern(std::string("'%") + type + "' is not supported; expected s r d i x X o e f g or %");
    }
    if (!value.is_number()) return bad_pattern(std::string("'%") + type + "' needs a number, not " + type_name(value));
    if (zeros) {
      spec.fill = "0";
      spec.align = '=';
    }
    spec.type = type == 'd' || type == 'i' || type == 'u' ? 'd' : type;
    if (!whole) return append_number(out_, value, spec);
    spec.precision.reset();
    double whole_part = 0.0;
    if (value.is(Kind::kFloat)) {
      whole_part = std::trunc(value.as_double());
      if (!(std::fabs(whole_part) < 9.2e18)) return bad_pattern("the number does not fit 64 bits");
      return append_number(out_, Value::integer(static_cast<int64_t>(whole_part), value.tainted()), spec);
    }
    return append_number(out_, value, spec);
  }

  Interpreter& interpreter_;
  const Text& text_;
  std::string_view pattern_;
  const Value& values_;
  TextBuilder out_;
  size_t next_ = 0;
};

// ------------------------------------------------------------------------------------------------------- 'x'.format(y)

class Braces {
 public:
  Braces(Interpreter& interpreter, const Text& pattern, const Arguments& arguments)
      : interpreter_(interpreter), text_(pattern), pattern_(pattern.view()), arguments_(arguments), out_(interpreter.budget()) {}

  Result<Value> run() {
    size_t i = 0;
    while (i < pattern_.size()) {
      KVASIR_TRY(interpreter_.budget().spend(1));
      const size_t brace = std::min(pattern_.find_first_of("{}", i), pattern_.size());
      KVASIR_TRY(out_.append_slice(text_, i, brace));
      i = brace;
      if (i == pattern_.size()) break;
      const bool doubled = i + 1 < pattern_.size() && pattern_[i + 1] == pattern_[i];
      if (doubled) {
        KVASIR_TRY(out_.append_slice(text_, i, i + 1));
        i += 2;
      } else if (pattern_[i] == '}') {
        return bad_pattern("a single '}' in the text");
      } else {
        const size_t close = pattern_.find('}', i);
        if (close == std::string_view::npos) return bad_pattern("'}' is missing after '{'");
        KVASIR_TRY(field(pattern_.substr(i + 1, close - i - 1)));
        i = close + 1;
      }
    }
    return interpreter_.make_string(out_.take());
  }

 private:
  Result<void> field(std::string_view inside) {
    if (inside.find('{') != std::string_view::npos) return bad_pattern("a '{' inside of a field is not supported");
    std::string_view spec_text;
    if (const size_t colon = inside.find(':'); colon != std::string_view::npos) {
      spec_text = inside.substr(colon + 1);
      inside = inside.substr(0, colon);
    }
    char conversion = '\0';
    if (const size_t mark = inside.find('!'); mark != std::string_view::npos) {
      if (mark + 2 != inside.size() || (inside[mark + 1] != 's' && inside[mark + 1] != 'r')) return bad_pattern("expected !s or !r");
      conversion = inside[mark + 1];
      inside = inside.substr(0, mark);
    }
    Value value = KVASIR_TRY(field_value(inside));
    if (conversion != '\0') {
      TextBuilder inner(interpreter_.budget());
      KVASIR_TRY(conversion == 'r' ? append_repr(interpreter_, inner, value) : append_str(interpreter_, inner, value));
      value = KVASIR_TRY(interpreter_.make_string(inner.take()));
    }
    return append_field(value, spec_text);
  }

  Result<Value> field_value(std::string_view path) {
    const size_t end = std::min(path.find_first_of(".["), path.size());
    const auto first = path.substr(0, end);
    Value value = KVASIR_TRY(argument(first));
    for (size_t i = end; i < path.size();) {
      KVASIR_TRY(interpreter_.budget().spend(1));
      const bool is_item = path[i] == '[';
      const size_t stop = is_item ? path.find(']', i) : std::min(path.find_first_of(".[", i + 1), path.size());
      if (stop == std::string_view::npos) return bad_pattern("']' is missing");
      const auto name = path.substr(i + 1, stop - i - 1);
      size_t digit_end = 0;
      const size_t index = KVASIR_TRY(read_number(name, digit_end));
      const bool number = is_item && !name.empty() && digit_end == name.size();
      const Value key = number ? Value::size(index) : KVASIR_TRY(interpreter_.make_string(std::string(name), true));
      value = is_item ? KVASIR_TRY(interpreter_.item(value, key)) : KVASIR_TRY(interpreter_.attribute(value, name));
      i = stop + (is_item ? 1 : 0);
    }
    return value;
  }

  Result<Value> argument(std::string_view name) {
    if (name.empty()) return positional(next_++);
    size_t digit_end = 0;
    const size_t index = KVASIR_TRY(read_number(name, digit_end));
    if (digit_end == name.size()) return positional(index);
    for (const auto& [key, value] : arguments_.named) {
      if (key == name) return value;
    }
    return bad_pattern("there is no argument '" + std::string(name.substr(0, 80)) + "'");
  }

  Result<Value> positional(size_t index) const {
    if (index >= arguments_.positional.size()) return bad_pattern("there is no argument " + std::to_string(index));
    return arguments_.positional[index];
  }

  Result<void> append_field(const Value& value, std::string_view spec_text) {
    if (spec_text.empty()) return append_str(interpreter_, out_, value);
    Spec spec = KVASIR_TRY(parse_spec(spec_text));
    if (value.is_string()) {
      if (spec.type != '\0' && spec.type != 's') return bad_pattern(std::string("'") + spec.type + "' does not fit a str");
      return append_string(out_, value.text(), spec, '<');
    }
    if (value.is(Kind::kBool) && spec.type == '\0') return append_string(out_, KVASIR_TRY(to_text(interpreter_, value)), spec, '<');
    if (!value.is_number()) return bad_pattern(std::string("a ") + type_name(value) + " cannot be formatted with '" + std::string(spec_text.substr(0, 40)) + "'");
    constexpr std::string_view kWhole = "dxXobn";
    if (value.is(Kind::kFloat) && spec.type != '\0' && kWhole.find(spec.type) != std::string_view::npos) {
      return bad_pattern(std::string("'") + spec.type + "' does not fit a float");
    }
    if (spec.type == 's' || spec.type == 'c') return bad_pattern("'s' does not fit a number");
    return append_number(out_, value, spec);
  }

  static Result<Spec> parse_spec(std::string_view text) {
    Spec spec;
    size_t i = 0;
    constexpr std::string_view kAligns = "<>^=";
    const size_t first = utf8_length(text[0]);
    if (text.size() > first && kAligns.find(text[first]) != std::string_view::npos) {
      spec.fill = std::string(text.substr(0, first));
      spec.align = text[first];
      i = first + 1;
    } else if (kAligns.find(text[0]) != std::string_view::npos) {
      spec.align = text[0];
      i = 1;
    }
    const auto at = [&](char c) { return i < text.size() && text[i] == c; };
    if (at('+') || at('-') || at(' ')) spec.sign = text[i++];
    if (at('#')) spec.alternate = text[i++] == '#';
    if (at('0')) {
      if (spec.align == '\0') {
        spec.align = '=';
        spec.fill = "0";
      }
      ++i;
    }
    spec.width = KVASIR_TRY(read_number(text, i));
    if (at(',')) spec.thousands = text[i++] == ',';
    if (at('.')) spec.precision = KVASIR_TRY(read_number(text, ++i));
    constexpr std::string_view kTypes = "sdxXobeEfFgG%";
    if (i < text.size()) spec.type = text[i++];
    if (i != text.size() || (spec.type != '\0' && kTypes.find(spec.type) == std::string_view::npos)) {
      return bad_pattern("cannot read the format '" + std::string(text.substr(0, 40)) + "'");
    }
    return spec;
  }

  Interpreter& interpreter_;
  const Text& text_;
  std::string_view pattern_;
  const Arguments& arguments_;
  TextBuilder out_;
  size_t next_ = 0;
};

}  // namespace

Result<Value> format_percent(Interpreter& interpreter, const Text& pattern, const Value& values) {
  return Percent(interpreter, pattern, values).run();
}

Result<Value> format_braces(Interpreter& interpreter, const Text& pattern, const Arguments& arguments) {
  return Braces(interpreter, pattern, arguments).run();
}

}  // namespace kvasir::jinja
