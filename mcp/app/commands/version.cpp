// kvasir version.
#include "mcp/app/commands/commands.h"
#include "mcp/app/engine_options.h"
#include "rpc/message.h"

namespace kvasir::app {
namespace {

Result<void> run(Context& context) {
  const std::string version(product_version());
  if (!context.options.enabled("json")) {
    context.console->line("kvasir " + version);
    return {};
  }
  context.console->line(
      rpc::dump({{"name", "kvasir"},
                 {"version", version},
                 {"compiler", __VERSION__},
                 {"build_type", KVASIR_BUILD_TYPE},
                 {"mcp", {"2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05", "2024-10-07"}},
                 {"json_rpc", "2.0"}}));
  return {};
}

}  // namespace

Command version_command() {
  return {{"version", "version of the program", {&kJson}, "", false, false, ""}, run};
}

}  // namespace kvasir::app
