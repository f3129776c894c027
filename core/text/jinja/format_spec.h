// What both of Python's format notations come down to: width, fill, sign, precision, type. Private to format.cpp.
// Errors: kInvalidArgument, kTooLarge for widths.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/text/jinja/builder.h"
#include "core/text/jinja/value.h"

namespace kvasir::jinja {

struct FormatSpec {
  char align = '\0';  ///< < > ^ = or none
  std::string fill = " ";
  char sign = '-';  ///< - + or space
  bool alternate = false;
  bool thousands = false;
  size_t width = 0;
  std::optional<size_t> precision;
  char type = '\0';
};

Failure bad_pattern(const std::string& what);
/// Reads digits; a width beyond every limit is refused before it can be used.
Result<size_t> read_number(std::string_view pattern, size_t& i);
Result<void> append_number(TextBuilder& out, const Value& value, const FormatSpec& spec);
Result<void> append_string(TextBuilder& out, Text text, const FormatSpec& spec, char default_align);

}  // namespace kvasir::jinja
