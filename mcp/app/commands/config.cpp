// kvasir config show: the settings as they are here, and where each comes from.
#include "mcp/app/commands/commands.h"
#include "mcp/app/engine_options.h"
#include "rpc/message.h"

namespace kvasir::app {
namespace {

const OptionSpec kOrigin{"origin", OptionKind::kSwitch, "", "", "say where each value comes from"};

struct Setting {
  std::string key, value;
  std::string_view origin;
};

std::vector<Setting> settings(const Context& context) {
  const Options& options = context.options;
  const auto data_origin = origin_name(options.origin("data-dir"));
  std::vector<Setting> out{{"config_file", context.config_file, origin_name(options.origin("config"))},
                           {"data_dir", context.paths.data_dir, data_origin},
                           {"models_dir", context.paths.models_dir, data_origin},
                           {"log_file", context.paths.log_file, data_origin},
                           {"cache_dir", context.paths.cache_dir, origin_name(Origin::kDefault)}};
  for (const OptionSpec* spec : options.specs()) {
    if (spec->name == "config" || spec->name == "data-dir" || spec == &kOrigin || spec == &kJson) continue;
    std::string value;
    for (const std::string& element : options.list(spec->name)) value += (value.empty() ? "" : ",") + element;
    if (spec->name == "token" && !value.empty()) value = "(set)";  // a secret does not belong on a screen
    out.push_back({key_name(spec->name), value, origin_name(options.origin(spec->name))});
  }
  return out;
}

Result<void> run(Context& context) {
  const auto all = settings(context);
  Console& console = *context.console;
  if (!context.arguments.empty()) {
    for (const Setting& setting : all) {
      if (setting.key != context.arguments.front()) continue;
      console.line(setting.value);
      return {};
    }
    std::vector<std::string> keys;
    for (const Setting& setting : all) keys.push_back(setting.key);
    const std::string near = nearest(context.arguments.front(), keys);
    return Failure{Code::kInvalidArgument, "there is no setting '" + context.arguments.front() + "'" +
                                               (near.empty() ? "" : "; did you mean '" + near + "'?")};
  }
  rpc::Json json = rpc::Json::object();
  for (const Setting& setting : all) {
    json[setting.key] = {{"value", setting.value}, {"origin", setting.origin}};
    if (context.options.enabled("json")) continue;
    console.line(setting.key + " = " + setting.value +
                 (context.options.enabled("origin") ? "  (" + std::string(setting.origin) + ")" : ""));
  }
  if (context.options.enabled("json")) console.line(rpc::dump(json));
  return {};
}

}  // namespace

Command config_show_command() {
  return {{"config show",
           "the settings, and where each comes from",
           {&kOrigin, &kJson},
           "KEY",
           false,
           false,
           "  kvasir config show --origin\n  kvasir config show data_dir"},
          run};
}

}  // namespace kvasir::app
