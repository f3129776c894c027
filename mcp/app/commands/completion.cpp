// kvasir completion: a script for the shell, made from the table of commands.
#include <algorithm>
#include <map>

#include "mcp/app/commands/commands.h"

namespace kvasir::app {
namespace {

/// Completion words by what was typed before: "" (the commands), "serve", "models", "models info".
std::map<std::string, std::vector<std::string>> words(const Context& context) {
  std::map<std::string, std::vector<std::string>> out;
  const auto add = [&](const std::string& after, const std::string& word) {
    auto& list = out[after];
    if (std::find(list.begin(), list.end(), word) == list.end()) list.push_back(word);
  };
  for (const Command& command : *context.commands) {
    const std::string name(command.spec.name);
    const size_t space = name.find(' ');
    add("", name.substr(0, space));
    if (space != std::string::npos) add(name.substr(0, space), name.substr(space + 1));
    for (const OptionSpec* option : command.spec.options) add(name, "--" + std::string(option->name));
    for (const OptionSpec* option : common_options()) add(name, "--" + std::string(option->name));
  }
  return out;
}

std::string joined(const std::vector<std::string>& list) {
  std::string out;
  for (const std::string& word : list) out += (out.empty() ? "" : " ") + word;
  return out;
}

/// bash, and zsh through bashcompinit.
std::string bash_script(const Context& context) {
  std::string out = "_kvasir() {\n  local words; case \"${COMP_WORDS[*]:1:COMP_CWORD-1}\" in\n";
  std::string fallback;
  const auto all = words(context);
  // Longer prefixes first: `models info` before `models`.
  for (auto it = all.rbegin(); it != all.rend(); ++it) {
    if (it->first.empty()) {
      out += "    '') words='" + joined(it->second) + "' ;;\n";
    } else {
      const bool group =
          std::any_of(all.begin(), all.end(), [&](const auto& e) { return e.first.starts_with(it->first + " "); });
      out += "    '" + it->first + "'" + (group ? "" : "*") + ") words='" + joined(it->second) + "' ;;\n";
    }
  }
  return out +
         "  esac\n  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\")\n}\n"
         "complete -o default -F _kvasir kvasir\n";
}

std::string fish_script(const Context& context) {
  std::string out;
  for (const Command& command : *context.commands) {
    const std::string name(command.spec.name);
    const size_t space = name.find(' ');
    const std::string first = name.substr(0, space);
    out +=
        "complete -c kvasir -n __fish_use_subcommand -a " + first + " -d '" + std::string(command.spec.summary) + "'\n";
    if (space != std::string::npos) {
      out += "complete -c kvasir -n '__fish_seen_subcommand_from " + first + "' -a " + name.substr(space + 1) + "\n";
    }
    for (const OptionSpec* option : command.spec.options) {
      out += "complete -c kvasir -n '__fish_seen_subcommand_from " + first + "' -l " + std::string(option->name) +
             (option->kind == OptionKind::kSwitch ? "" : " -r") + "\n";
    }
  }
  return out;
}

Result<void> run(Context& context) {
  const std::string& shell = context.arguments.front();
  if (shell == "bash") {
    context.console->out(bash_script(context));
  } else if (shell == "zsh") {
    context.console->out("autoload -U +X bashcompinit && bashcompinit\n" + bash_script(context));
  } else if (shell == "fish") {
    context.console->out(fish_script(context));
  } else {
    return Failure{Code::kInvalidArgument, "'" + shell + "' is none of bash, zsh, fish"};
  }
  return {};
}

}  // namespace

Command completion_command() {
  return {{"completion",
           "completion script for bash, zsh or fish",
           {},
           "SHELL",
           true,
           false,
           "  source <(kvasir completion bash)"},
          run};
}

}  // namespace kvasir::app
