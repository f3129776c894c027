// The command line as checked names and raw values, by CLI11 (only in command_line.cpp). Pure: prints nothing.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "mcp/app/options.h"

namespace kvasir::app {

/// One command of the binary: everything that its help, its parsing and its completion need.
struct CommandSpec {
  std::string_view name;  ///< "mcp", "models info"
  std::string_view summary;
  std::vector<const OptionSpec*> options;  ///< besides the common ones
  std::string_view positional;             ///< metavar of the arguments; empty: takes none
  bool positional_required = false;
  bool positional_many = false;
  std::string_view examples;
};

struct CommandLine {
  const CommandSpec* command = nullptr;
  RawValues flags;
  std::vector<std::string> arguments;
};
/// Asked for: goes to stdout, exit 0.
struct HelpText {
  std::string text;
};
/// Refused: goes to stderr, exit 2.
struct Misuse {
  std::string message;
};

std::variant<CommandLine, HelpText, Misuse> parse_command_line(const std::vector<std::string>& arguments,
                                                               const std::vector<CommandSpec>& commands,
                                                               const std::vector<const OptionSpec*>& common,
                                                               std::string_view version);

/// The candidate that is nearest to a mistyped word, or nothing if none is near.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace kvasir::app
