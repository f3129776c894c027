// strftime in UTC and English, whatever the process's locale and time zone are. Errors: kTooLarge.
#pragma once

#include <cstdint>

#include "core/text/jinja/builder.h"

namespace kvasir::jinja {

/// Appends `unix_seconds` by `format`; directives have the format's trust. Unknown ones are copied.
Result<void> append_time(TextBuilder& out, const Text& format, int64_t unix_seconds);

}  // namespace kvasir::jinja
