// Python's string escapes and numbers as they stand in template source. Pure. Errors: kInvalidArgument.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/result.h"

namespace kvasir::jinja {

/// The text of a string literal, without its quotes.
Result<std::string> unescape_string(std::string_view literal);
/// Decimal, 0x, 0o, 0b, with underscores; nothing if it does not fit 64 bits.
std::optional<int64_t> parse_integer_literal(std::string_view literal);
double parse_float_literal(std::string_view literal);

/// As Python's int(text, base) and float(text): white space around, a sign, underscores between digits.
std::optional<int64_t> python_int(std::string_view text, int base);
std::optional<double> python_float(std::string_view text);

}  // namespace kvasir::jinja
