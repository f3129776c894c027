// What a command gets: its options and arguments, paths, console, and whether somebody pressed Ctrl-C. Made by main,
// borrowed by the command, used on the main thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "mcp/app/command_line.h"
#include "mcp/app/console.h"
#include "mcp/app/interrupt.h"
#include "mcp/app/options.h"
#include "mcp/app/paths.h"

namespace kvasir::app {

struct Command;

struct Context {
  const CommandSpec* spec = nullptr;
  Options options;
  std::vector<std::string> arguments;
  Paths paths;
  std::string config_file;
  Console* console = nullptr;
  Interrupt* interrupt = nullptr;
  const std::vector<Command>* commands = nullptr;
};

/// A command and what runs it. The Result decides the exit code (exit_codes.h); results went to console->out().
struct Command {
  CommandSpec spec;
  Result<void> (*run)(Context&) = nullptr;
};

/// The common options, understood before and after the command's name.
const std::vector<const OptionSpec*>& common_options();
/// All commands, in the order of the help.
const std::vector<Command>& all_commands();
/// The product's version, as CMake knows it.
std::string_view product_version() noexcept;

}  // namespace kvasir::app
