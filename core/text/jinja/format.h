// Python's two ways to fill in texts: 'x %s' % value and 'x {}'.format(value). The pattern's bytes and the values'
// bytes keep their own trust. Errors: kInvalidArgument for patterns and values that do not fit, kTooLarge.
#pragma once

#include "core/text/jinja/interpreter.h"

namespace kvasir::jinja {

Result<Value> format_percent(Interpreter& interpreter, const Text& pattern, const Value& values);
Result<Value> format_braces(Interpreter& interpreter, const Text& pattern, const Arguments& arguments);

}  // namespace kvasir::jinja
