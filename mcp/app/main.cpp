// kvasir: one binary, one command per run. Options from flags, variables, config file and defaults; results on stdout,
// everything else on stderr; the exit code says how it went (exit_codes.h).
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "core/base/log.h"
#include "mcp/app/config_file.h"
#include "mcp/app/context.h"
#include "mcp/app/exit_codes.h"
#include "mcp/app/log_options.h"

namespace kvasir::app {
namespace {

struct Refusal {
  int exit_code = kRefused;
  std::string message;
};

std::vector<const OptionSpec*> options_of(const CommandSpec& spec) {
  auto all = common_options();
  all.insert(all.end(), spec.options.begin(), spec.options.end());
  return all;
}

/// Every option of every command: what a config file may name.
std::vector<const OptionSpec*> every_option() {
  auto all = common_options();
  for (const auto& command : all_commands()) {
    for (const OptionSpec* option : command.spec.options) {
      if (std::find(all.begin(), all.end(), option) == all.end()) all.push_back(option);
    }
  }
  return all;
}

std::vector<std::string> command_words() {
  std::vector<std::string> out;
  for (const auto& command : all_commands()) out.emplace_back(command.spec.name.substr(0, command.spec.name.find(' ')));
  return out;
}

/// Flag, variable, file, default into context.options, and the paths that follow from them.
std::optional<Refusal> settle(const CommandLine& line, Context& context) {
  // `config show` speaks of every option, whichever command it belongs to.
  const auto specs = line.command->name == "config show" ? every_option() : options_of(*line.command);
  const RawValues environment = read_environment(specs);
  Options first;  // only to find the config file
  (void)Options::resolve(common_options(), line.flags, environment, {}, first);
  context.config_file = first.text("config");
  const bool named = !context.config_file.empty();
  if (!named) {
    if (auto path = default_config_file()) context.config_file = std::move(*path);
  }
  const std::string word(line.command->name.substr(0, line.command->name.find(' ')));
  auto file = read_config_file(context.config_file, named, word, specs, every_option(), command_words());
  if (!file) return Refusal{kBadConfiguration, file.error().message};
  if (auto bad = Options::resolve(specs, line.flags, environment, *file, context.options)) {
    return Refusal{bad->from_flag ? kRefused : kBadConfiguration, bad->error.message};
  }
  auto paths = resolve_paths(context.options.text("data-dir"));
  if (!paths) return Refusal{exit_code(paths.error().code), paths.error().message};
  context.paths = std::move(*paths);
  return std::nullopt;
}

std::optional<Refusal> open_log(const Context& context) {
  auto options = log_options(context.options, log::Level::kWarn);
  if (!options) return Refusal{kRefused, options.error().message};
  if (options->level >= log::Level::kError) context.console->silence();
  if (auto opened = log::open(*options); !opened) return Refusal{kFailed, opened.error().message};
  return std::nullopt;
}

int report(const Context& context, const Result<void>& result) {
  if (result) return kDone;
  const Error& error = result.error();
  if (context.console->broken()) return kFailed;  // the reader went away: nobody wants the words either
  context.console->note("kvasir: " + error.message);
  return exit_code(error.code);
}

int run(int argc, char** argv, int out_fd) {
  Console console(out_fd);
  std::vector<CommandSpec> specs;
  for (const auto& command : all_commands()) specs.push_back(command.spec);
  const std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  auto parsed = parse_command_line(arguments, specs, common_options(), product_version());
  if (const auto* help = std::get_if<HelpText>(&parsed)) {
    console.out(help->text);
    return console.broken() ? kFailed : kDone;
  }
  if (const auto* misuse = std::get_if<Misuse>(&parsed)) {
    console.note("kvasir: " + misuse->message);
    return kRefused;
  }
  auto& line = std::get<CommandLine>(parsed);
  const auto command = std::find_if(all_commands().begin(), all_commands().end(),
                                    [&](const Command& c) { return c.spec.name == line.command->name; });
  Context context;
  context.spec = &command->spec;
  context.arguments = std::move(line.arguments);
  context.console = &console;
  context.commands = &all_commands();
  if (auto refusal = settle(line, context)) {
    console.note("kvasir: " + refusal->message);
    return refusal->exit_code;
  }
  Interrupt interrupt;  // before the first other thread
  context.interrupt = &interrupt;
  if (auto refusal = open_log(context)) {
    console.note("kvasir: " + refusal->message);
    return refusal->exit_code;
  }
  const Result<void> result = command->run(context);
  console.end_progress();
  const int code = report(context, result);
  return code == kDone && console.broken() ? kFailed : code;
}

}  // namespace
}  // namespace kvasir::app

int main(int argc, char** argv) {
  const int out_fd = kvasir::app::take_stdout();
  try {
    return kvasir::app::run(argc, argv, out_fd);
  } catch (const std::exception& e) {
    // Only a bug or the end of memory gets here; say so instead of a silent abort.
    std::fprintf(stderr, "kvasir: unexpected: %s\n", e.what());
    return kvasir::app::kFailed;
  }
}
