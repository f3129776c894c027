// Template source to syntax tree. Errors: kInvalidArgument with the line and what was expected; kTooLarge for source
// size and nesting. Pure.
#pragma once

#include <string_view>

#include "core/base/result.h"
#include "core/text/chat_template.h"
#include "core/text/jinja/syntax.h"

namespace kvasir::jinja {

Result<Template> parse_template(std::string_view source, const TemplateLimits& limits);

}  // namespace kvasir::jinja
