// What a command reads: its arguments, or standard input, with a bound. Main thread.
#pragma once

#include <string>

#include "mcp/app/context.h"

namespace kvasir::app {

inline constexpr size_t kMaxInputBytes = 64u << 20;

/// All of stdin. Errors: kIo, kTooLarge.
Result<std::string> read_stdin();
bool stdin_is_terminal();
/// The arguments joined by spaces; with none, all of stdin. With both, stdin follows the arguments after an empty line
/// (`git diff | kvasir run "Summarise:"`). Errors also: kInvalidArgument when there is neither.
Result<std::string> text_input(const Context& context);
/// A whole file. Errors: kNotFound, kIo, kTooLarge.
Result<std::string> read_text_file(const std::string& path, size_t max_bytes);

}  // namespace kvasir::app
