// How values become text: Python's str() and repr(), and JSON as Hugging Face's tojson writes it. Every byte keeps the
// trust of what it stands for. Errors: kInvalidArgument for what JSON cannot say, kTooLarge.
#pragma once

#include <optional>
#include <string>

#include "core/text/jinja/builder.h"
#include "core/text/jinja/interpreter.h"

namespace kvasir::jinja {

/// As Python's repr(float): the shortest digits that read back the same.
std::string float_repr(double value);

Result<void> append_str(Interpreter& interpreter, TextBuilder& out, const Value& value);
Result<void> append_repr(Interpreter& interpreter, TextBuilder& out, const Value& value);
/// str(value).
Result<Text> to_text(Interpreter& interpreter, const Value& value);

struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::optional<Text> indent;  ///< one level of it; nothing: everything on one line
  Text item_separator{", ", true};
  Text key_separator{": ", true};
};
Result<void> append_json(Interpreter& interpreter, TextBuilder& out, const Value& value, const JsonStyle& style);

}  // namespace kvasir::jinja
