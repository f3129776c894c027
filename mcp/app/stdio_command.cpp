#include "mcp/app/stdio_command.h"

#include <unistd.h>

#include <csignal>
#include <string>
#include <utility>

#include "core/base/log.h"
#include "mcp/app/engine_options.h"
#include "mcp/app/front/front_end.h"
#include "mcp/app/model_choice.h"
#include "mcp/app/serving.h"
#include "mcp/app/store_options.h"

namespace kvasir::app {
namespace {

Result<void> run_alone(Context& context, mcp::Greeting::Speaks speaks, rpc::Framing framing) {
  const auto serving = KVASIR_TRY(Serving::create(context));
  auto& host = serving->host();
  serving->server().serve_stdio(STDIN_FILENO, context.console->out_fd(), framing,
                                speaks == mcp::Greeting::Speaks::kMcp ? host.mcp_service() : host.json_rpc_service());
  return serving->run();
}

Result<mcp::Greeting> greeting_of(const Context& context, mcp::Greeting::Speaks speaks) {
  mcp::Greeting greeting;
  greeting.speaks = speaks;
  greeting.engine = KVASIR_TRY(engine_key(context.options));
  // The host runs in another folder. What cannot be found stays as it was typed: the tools will say why.
  if (auto path = resolve_model(greeting.engine.model, context.paths.models_dir))
    greeting.engine.model = std::move(*path);
  greeting.preload = context.options.enabled("preload");
  greeting.build = KVASIR_TRY(own_build());
  return greeting;
}

std::vector<std::string> host_command(const Context& context) {
  std::vector<std::string> command{"kvasir", "host", "--data-dir", context.paths.data_dir};
  if (const std::string packed = context.options.text("packed-weights"); packed != "auto")
    command.insert(command.end(), {"--packed-weights", packed});
  append_store_flags(context.options, command);
  if (const std::string config = context.options.text("config"); !config.empty())
    command.insert(command.end(), {"--config", config});
  return command;
}

}  // namespace

Result<void> run_stdio_command(Context& context, mcp::Greeting::Speaks speaks, rpc::Framing framing) {
  if (context.options.enabled("private") || context.options.enabled("no-store"))
    return run_alone(context, speaks, framing);
  FrontEndOptions options;
  options.in_fd = STDIN_FILENO;
  options.out_fd = context.console->out_fd();
  options.framing = framing;
  options.link.host_command = host_command(context);
  options.link.greeting = KVASIR_TRY(greeting_of(context, speaks));
  std::signal(SIGCHLD, SIG_IGN);  // a host that leaves again is nobody's zombie
  auto place = HostPlace::open(context.paths.data_dir);
  auto link = place ? connect_to_host(*place, options.link) : Result<OwnedFd>(Failure(place.error()));
  if (!link) {
    log::warn("working alone, as with --private: " + link.error().message);
    return run_alone(context, speaks, framing);
  }
  return run_front_end(*place, std::move(*link), options, *context.interrupt);
}

}  // namespace kvasir::app
