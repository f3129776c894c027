#include "core/text/jinja/format.h"

#include <algorithm>
#include <cmath>

#include "core/text/jinja/format_spec.h"
#include "core/text/jinja/operators.h"
#include "core/text/jinja/printing.h"
#include "core/text/jinja/unicode.h"

namespace kvasir::jinja {
namespace {

// ------------------------------------------------------------------------------------------------------------ 'x' % y

class Percent {
 public:
  Percent(Interpreter& interpreter, const Text& pattern, const Value& values)
      : interpreter_(interpreter),
        text_(pattern),
        pattern_(pattern.view()),
        values_(values),
        out_(interpreter.budget()) {}

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
    FormatSpec spec;
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

  Result<void> convert(char type, const Value& value, FormatSpec& spec, bool zeros) {
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
      spec.fill.assign(1, '0');
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
      : interpreter_(interpreter),
        text_(pattern),
        pattern_(pattern.view()),
        arguments_(arguments),
        out_(interpreter.budget()) {}

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
      if (mark + 2 != inside.size() || (inside[mark + 1] != 's' && inside[mark + 1] != 'r'))
        return bad_pattern("expected !s or !r");
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
    FormatSpec spec = KVASIR_TRY(parse_spec(spec_text));
    if (value.is_string()) {
      if (spec.type != '\0' && spec.type != 's')
        return bad_pattern(std::string("'") + spec.type + "' does not fit a str");
      return append_string(out_, value.text(), spec, '<');
    }
    if (!value.is_number() && !value.is(Kind::kBool))  // Python: True is 1 as soon as there is a specification
      return bad_pattern(std::string("a ") + type_name(value) + " cannot be formatted with '" +
                         std::string(spec_text.substr(0, 40)) + "'");
    constexpr std::string_view kWhole = "dxXobn";
    if (value.is(Kind::kFloat) && spec.type != '\0' && kWhole.find(spec.type) != std::string_view::npos) {
      return bad_pattern(std::string("'") + spec.type + "' does not fit a float");
    }
    if (spec.type == 's' || spec.type == 'c') return bad_pattern("'s' does not fit a number");
    return append_number(out_, value, spec);
  }

  static Result<FormatSpec> parse_spec(std::string_view text) {
    FormatSpec spec;
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
        spec.fill.assign(1, '0');
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
