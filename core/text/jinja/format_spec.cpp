#include "core/text/jinja/format_spec.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "core/text/jinja/interpreter.h"
#include "core/text/jinja/printing.h"
#include "core/text/jinja/unicode.h"

namespace kvasir::jinja {
namespace {

constexpr size_t kMaxPrecision = 1000;

/// Adds fill characters on the side that `align` asks for. `prefix_bytes` at the front (a sign) stay there for '='.
Result<void> append_aligned(TextBuilder& out, const Text& body, const FormatSpec& spec, char default_align,
                            size_t prefix_bytes) {
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

std::string integer_digits(uint64_t magnitude, const FormatSpec& spec) {
  const auto prefixed = [&](const char* prefix, std::string digits) {
    return spec.alternate ? prefix + digits : digits;
  };
  switch (spec.type) {
    case 'x':
      return prefixed("0x", in_base(magnitude, 16, false));
    case 'X':
      return prefixed("0X", in_base(magnitude, 16, true));
    case 'o':
      return prefixed("0o", in_base(magnitude, 8, false));
    case 'b':
      return prefixed("0b", in_base(magnitude, 2, false));
    default:
      return std::to_string(magnitude);
  }
}

Result<std::string> real_digits(double magnitude, const FormatSpec& spec) {
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

}  // namespace

Failure bad_pattern(const std::string& what) {
  return Interpreter::error("format: " + what);
}

Result<size_t> read_number(std::string_view pattern, size_t& i) {
  size_t value = 0;
  while (i < pattern.size() && pattern[i] >= '0' && pattern[i] <= '9') {
    value = value * 10 + static_cast<size_t>(pattern[i++] - '0');
    if (value > 100'000'000)
      return Failure{Code::kTooLarge, "format: the width or precision is too large (template output limit)"};
  }
  return value;
}

Result<void> append_number(TextBuilder& out, const Value& value, const FormatSpec& spec) {
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

Result<void> append_string(TextBuilder& out, Text text, const FormatSpec& spec, char default_align) {
  if (spec.precision && *spec.precision < text.size()) {
    size_t end = 0;
    for (size_t i = 0; i < *spec.precision && end < text.size(); ++i) end += utf8_length(text.view()[end]);
    text = text.slice(0, end);
  }
  return append_aligned(out, text, spec, default_align, 0);
}

}  // namespace kvasir::jinja
