#include "mcp/app/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <deque>
#include <map>
#include <numeric>

namespace kvasir::app {
namespace {

/// The parser for one call: CLI11 keeps references to these values.
struct Parser {
  CLI::App app{"Kvasir: language models on this machine, as tools for assistants (MCP), scripts (JSON-RPC) and people.",
               "kvasir"};
  std::deque<std::pair<const OptionSpec*, std::vector<std::string>>> texts;
  std::deque<std::pair<const OptionSpec*, bool>> switches;
  std::deque<std::vector<std::string>> positionals;
  std::map<const CLI::App*, std::pair<const CommandSpec*, std::vector<std::string>*>> commands;
};

void add_option(Parser& parser, CLI::App& to, const OptionSpec& spec, const std::string& group) {
  std::string help(spec.help);
  if (!spec.fallback.empty() && spec.kind != OptionKind::kSwitch) help += " [" + std::string(spec.fallback) + "]";
  const std::string flag = "--" + std::string(spec.name);
  CLI::Option* option = nullptr;
  if (spec.kind == OptionKind::kSwitch) {
    auto& target = parser.switches.emplace_back(&spec, false);
    option = to.add_flag(flag, target.second, help);
  } else {
    auto& target = parser.texts.emplace_back(&spec, std::vector<std::string>{});
    option = to.add_option(flag, target.second, help);
    option->type_name(std::string(spec.metavar))->expected(1)->allow_extra_args(false);
    option->multi_option_policy(spec.kind == OptionKind::kList ? CLI::MultiOptionPolicy::TakeAll
                                                               : CLI::MultiOptionPolicy::TakeLast);
  }
  option->group(group);
}

void add_command(Parser& parser, const CommandSpec& spec) {
  CLI::App* parent = &parser.app;
  std::string name(spec.name);
  if (const size_t space = name.find(' '); space != std::string::npos) {
    const std::string group = name.substr(0, space);
    name = name.substr(space + 1);
    const auto existing = parser.app.get_subcommands([&](CLI::App* app) { return app->get_name() == group; });
    if (!existing.empty()) {
      parent = existing.front();
    } else {
      parent =
          parser.app.add_subcommand(group, spec.name.substr(0, space) == "models" ? "the model files" : "the settings");
      parent->require_subcommand(1);
      parent->fallthrough();
    }
  }
  CLI::App* command = parent->add_subcommand(name, std::string(spec.summary));
  command->fallthrough();
  for (const OptionSpec* option : spec.options) add_option(parser, *command, *option, "Options");
  auto& arguments = parser.positionals.emplace_back();
  if (!spec.positional.empty()) {
    CLI::Option* option = command->add_option(std::string(spec.positional), arguments, "");
    option->required(spec.positional_required)
        ->type_name("")
        ->expected(spec.positional_required ? 1 : 0, spec.positional_many ? 1 << 20 : 1);
  }
  if (!spec.examples.empty()) command->footer("Examples:\n" + std::string(spec.examples));
  parser.commands[command] = {&spec, &arguments};
}

const CLI::App* chosen(const CLI::App& app) {
  const CLI::App* current = &app;
  while (!current->get_subcommands().empty()) current = current->get_subcommands().front();
  return current;
}

CommandLine collect(const Parser& parser) {
  CommandLine out;
  const auto& [spec, arguments] = parser.commands.at(chosen(parser.app));
  out.command = spec;
  out.arguments = *arguments;
  for (const auto& [option, values] : parser.texts) {
    if (!values.empty()) out.flags[std::string(option->name)] = values;
  }
  for (const auto& [option, given] : parser.switches) {
    if (given) out.flags[std::string(option->name)] = {"true"};
  }
  return out;
}

std::string unknown_word(const std::vector<std::string>& arguments, const std::vector<CommandSpec>& commands) {
  if (arguments.empty() || arguments.front().starts_with('-')) return "";
  std::vector<std::string> names;
  for (const auto& command : commands) names.emplace_back(command.name.substr(0, command.name.find(' ')));
  if (std::find(names.begin(), names.end(), arguments.front()) != names.end()) return "";
  const std::string near = nearest(arguments.front(), names);
  return "unknown command '" + arguments.front() + "'" + (near.empty() ? "" : "; did you mean '" + near + "'?") +
         " (kvasir --help lists them)";
}

/// CLI11 says which word it did not expect; this adds which one was probably meant.
std::string with_suggestion(std::string message, const std::vector<std::string>& arguments,
                            const std::vector<CommandSpec>& commands, const std::vector<const OptionSpec*>& common) {
  std::vector<std::string> known;
  for (const auto* option : common) known.push_back("--" + std::string(option->name));
  for (const auto& command : commands) {
    if (arguments.empty() || command.name.substr(0, command.name.find(' ')) != arguments.front()) continue;
    for (const auto* option : command.options) known.push_back("--" + std::string(option->name));
  }
  for (const std::string& argument : arguments) {
    const std::string word = argument.substr(0, argument.find('='));
    if (!word.starts_with("--") || word.size() < 4 || std::find(known.begin(), known.end(), word) != known.end())
      continue;
    if (const std::string near = nearest(word, known); !near.empty()) message += "; did you mean " + near + "?";
    break;
  }
  return message;
}

}  // namespace

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  size_t best_distance = 1 + word.size() / 3;
  for (const std::string& candidate : candidates) {
    std::vector<size_t> row(candidate.size() + 1);
    std::iota(row.begin(), row.end(), size_t{0});
    for (size_t i = 0; i < word.size(); ++i) {
      size_t diagonal = row[0];
      row[0] = i + 1;
      for (size_t j = 0; j < candidate.size(); ++j) {
        const size_t replaced = diagonal + (word[i] == candidate[j] ? 0 : 1);
        diagonal = row[j + 1];
        row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
      }
    }
    if (row.back() <= best_distance && (best.empty() || row.back() < best_distance)) {
      best_distance = row.back();
      best = candidate;
    }
  }
  return best;
}

std::variant<CommandLine, HelpText, Misuse> parse_command_line(const std::vector<std::string>& arguments,
                                                               const std::vector<CommandSpec>& commands,
                                                               const std::vector<const OptionSpec*>& common,
                                                               std::string_view version) {
  if (std::string wrong = unknown_word(arguments, commands); !wrong.empty()) return Misuse{std::move(wrong)};
  Parser parser;
  try {
    parser.app.set_help_all_flag("--help-all", "help of all commands");
    parser.app.set_version_flag("--version", "kvasir " + std::string(version));
    parser.app.require_subcommand(1);
    parser.app.footer(
        "Every flag has a variable: --log-level is KVASIR_LOG_LEVEL; and a key in config.toml: log_level.\n"
        "Exit codes: 0 done, 1 failed, 2 input refused, 3 a needed part is missing, 75 try again, 78 configuration, "
        "130 interrupted.\n\n"
        "Examples:\n  kvasir run \"Name three primary colours.\"\n  kvasir mcp                      (what an assistant "
        "starts)\n"
        "  kvasir serve --port 8080        (HTTP and WebSocket)\n  kvasir doctor                   (what works here, "
        "and why not)");
    for (const OptionSpec* option : common) add_option(parser, parser.app, *option, "Common options");
    for (const CommandSpec& command : commands) add_command(parser, command);
    if (arguments.empty()) return HelpText{parser.app.help() + "\n"};
    // What follows `--` is text; this CLI11 loses its order in a subcommand, so it is not asked.
    const auto mark = std::find(arguments.begin(), arguments.end(), "--");
    std::vector<std::string> reversed(arguments.begin(), mark);
    std::reverse(reversed.begin(), reversed.end());
    parser.app.parse(reversed);
    CommandLine line = collect(parser);
    if (mark == arguments.end()) return line;
    line.arguments.insert(line.arguments.end(), mark + 1, arguments.end());
    if (line.arguments.size() > 1 && !line.command->positional_many)
      return Misuse{"too many arguments: " + line.arguments.back()};
    return line;
  } catch (const CLI::CallForHelp&) {
    return HelpText{chosen(parser.app)->help() + "\n"};
  } catch (const CLI::CallForAllHelp&) {
    return HelpText{parser.app.help("", CLI::AppFormatMode::All)};
  } catch (const CLI::CallForVersion& e) {
    return HelpText{std::string(e.what()) + "\n"};
  } catch (const CLI::Error& e) {
    return Misuse{with_suggestion(e.what(), arguments, commands, common)};
  }
}

}  // namespace kvasir::app
