#include "core/text/jinja/literals.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "core/text/jinja/unicode.h"

namespace kvasir::jinja {
namespace {

int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'z') return c - 'a' + 10;
  if (c >= 'A' && c <= 'Z') return c - 'A' + 10;
  return 99;
}

char simple_escape(char c) {
  switch (c) {
    case 'n':
      return '\n';
    case 't':
      return '\t';
    case 'r':
      return '\r';
    case 'a':
      return '\a';
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'v':
      return '\v';
    case '\\':
    case '\'':
    case '"':
      return c;
    default:
      return '\0';
  }
}

/// Reads exactly `count` hexadecimal digits at `offset`.
std::optional<char32_t> hex(std::string_view text, size_t offset, size_t count) {
  if (offset + count > text.size()) return std::nullopt;
  char32_t value = 0;
  for (const char c : text.substr(offset, count)) {
    const int digit = digit_value(c);
    if (digit >= 16) return std::nullopt;
    value = value * 16 + static_cast<char32_t>(digit);
  }
  return value;
}

std::string_view strip(std::string_view text) {
  size_t begin = 0;
  while (begin < text.size()) {
    size_t next = begin;
    if (!is_space(next_code_point(text, next))) break;
    begin = next;
  }
  size_t end = text.size();
  while (end > begin) {
    const size_t previous = previous_offset(text, end);
    size_t next = previous;
    if (!is_space(next_code_point(text, next))) break;
    end = previous;
  }
  return text.substr(begin, end - begin);
}

/// Digits of `base` with single underscores between them, no sign. Nothing if malformed or over 64 bits.
std::optional<uint64_t> digits(std::string_view text, int base) {
  if (text.empty() || text.front() == '_' || text.back() == '_') return std::nullopt;
  uint64_t value = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '_') {
      if (text[i - 1] == '_') return std::nullopt;
      continue;
    }
    const int digit = digit_value(text[i]);
    if (digit >= base) return std::nullopt;
    if (__builtin_mul_overflow(value, static_cast<uint64_t>(base), &value)) return std::nullopt;
    if (__builtin_add_overflow(value, static_cast<uint64_t>(digit), &value)) return std::nullopt;
  }
  return value;
}

/// Removes a 0x, 0o or 0b that fits `base`; base 0 takes the base from it.
int take_prefix(std::string_view& text, int base) {
  if (text.size() > 2 && text[0] == '0') {
    const char letter = static_cast<char>(text[1] | 0x20);
    const int named = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
    if (named != 0 && (base == 0 || base == named)) {
      text.remove_prefix(text[2] == '_' ? 3 : 2);
      return named;
    }
  }
  return base == 0 ? 10 : base;
}

}  // namespace

Result<std::string> unescape_string(std::string_view literal) {
  std::string out;
  out.reserve(literal.size());
  for (size_t i = 0; i < literal.size(); ++i) {
    if (literal[i] != '\\' || i + 1 == literal.size()) {
      out.push_back(literal[i]);
      continue;
    }
    const char c = literal[++i];
    if (c == '\n') continue;
    if (const char plain = simple_escape(c); plain != '\0') {
      out.push_back(plain);
    } else if (c == 'x' || c == 'u' || c == 'U') {
      const size_t count = c == 'x' ? 2 : c == 'u' ? 4 : 8;
      const auto value = hex(literal, i + 1, count);
      if (!value || *value > 0x10FFFF || (*value >= 0xD800 && *value <= 0xDFFF)) {
        return Failure{Code::kInvalidArgument, std::string("invalid \\") + c + " escape in a string; expected " +
                                                   std::to_string(count) + " hexadecimal digits of a character"};
      }
      append_utf8(out, *value);
      i += count;
    } else if (c >= '0' && c <= '7') {
      char32_t value = 0;
      size_t n = 0;
      for (; n < 3 && i + n < literal.size() && literal[i + n] >= '0' && literal[i + n] <= '7'; ++n) {
        value = value * 8 + static_cast<char32_t>(literal[i + n] - '0');
      }
      append_utf8(out, value);
      i += n - 1;
    } else if (c == 'N') {
      return Failure{Code::kInvalidArgument, "\\N{...} in a string is not supported; use \\u with four digits"};
    } else {
      out.push_back('\\');  // Python keeps a backslash that begins no escape
      out.push_back(c);
    }
  }
  return out;
}

std::optional<int64_t> python_int(std::string_view text, int base) {
  text = strip(text);
  const bool negative = !text.empty() && text[0] == '-';
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
  base = take_prefix(text, base);
  const auto value = digits(text, base);
  constexpr uint64_t kMax = std::numeric_limits<int64_t>::max();
  if (!value || *value > kMax) return std::nullopt;
  return negative ? -static_cast<int64_t>(*value) : static_cast<int64_t>(*value);
}

std::optional<double> python_float(std::string_view text) {
  text = strip(text);
  std::string clean;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto digit_at = [&](size_t k) { return k < text.size() && text[k] >= '0' && text[k] <= '9'; };
    if (text[i] == '_') {
      if (i == 0 || !digit_at(i - 1) || !digit_at(i + 1)) return std::nullopt;
    } else {
      clean.push_back(static_cast<char>(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 32 : text[i]));
    }
  }
  std::string_view body = clean;
  const bool negative = !body.empty() && body[0] == '-';
  if (!body.empty() && (body[0] == '-' || body[0] == '+')) body.remove_prefix(1);
  if (body.empty() || body[0] == '-' || body[0] == '+') return std::nullopt;
  double value = 0.0;
  if (body == "inf" || body == "infinity") {
    value = std::numeric_limits<double>::infinity();
  } else if (body == "nan") {
    value = std::numeric_limits<double>::quiet_NaN();
  } else {
    if ((body[0] < '0' || body[0] > '9') && body[0] != '.') return std::nullopt;  // from_chars knows more words
    const auto [end, error] = std::from_chars(body.data(), body.data() + body.size(), value);
    if (end != body.data() + body.size() || error == std::errc::invalid_argument) return std::nullopt;
    if (error == std::errc::result_out_of_range) {  // from_chars does not say which end
      const bool tiny = body.find("e-") != std::string_view::npos;
      value = tiny ? 0.0 : std::numeric_limits<double>::infinity();
    }
  }
  return negative ? -value : value;
}

std::optional<int64_t> parse_integer_literal(std::string_view literal) {
  return python_int(literal, 0);
}

double parse_float_literal(std::string_view literal) {
  return python_float(literal).value_or(0.0);
}

}  // namespace kvasir::jinja
