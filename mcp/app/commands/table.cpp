// The list of commands and of the options that all of them understand.
#include <algorithm>
#include <iterator>

#include "mcp/app/commands/commands.h"

namespace kvasir::app {
namespace {

const OptionSpec kConfig{"config", OptionKind::kText, "FILE", "",
                         "config file (default: ~/.config/kvasir/config.toml)"};
const OptionSpec kDataDir{"data-dir", OptionKind::kText, "DIR", "",
                          "models, sessions and log (default: ~/.local/share/kvasir)"};
const OptionSpec kLogLevel{"log-level", OptionKind::kText, "LEVEL", "",
                           "debug, info, warn, error, off (servers: info, else warn)"};
const OptionSpec kLogFormat{"log-format", OptionKind::kText, "FORMAT", "text", "text or json"};

}  // namespace

const std::vector<const OptionSpec*>& common_options() {
  static const std::vector<const OptionSpec*> kCommon{&kConfig, &kDataDir, &kLogLevel, &kLogFormat};
  return kCommon;
}

const std::vector<Command>& all_commands() {
  static const std::vector<Command> kAll = [] {
    std::vector<Command> all{
        mcp_command(),        rpc_command(),      serve_command(),     host_command(),        run_command(),
        bench_command(),      bench_compress_command(), score_command(),    tokenize_command(),  detokenize_command(),  template_command(),
        models_ls_command(),  models_info_command(), doctor_command(), install_command(),     config_show_command(),
        completion_command(), version_command()};
    const auto info =
        std::find_if(all.begin(), all.end(), [](const Command& c) { return c.spec.name == "models info"; });
    const auto sessions = sessions_commands();
    all.insert(std::next(info), sessions.begin(), sessions.end());
    return all;
  }();
  return kAll;
}

std::string_view product_version() noexcept {
  return KVASIR_VERSION;
}

}  // namespace kvasir::app
