// kvasir host: what `kvasir mcp` and `kvasir rpc` start by themselves, once per user and data folder. Ends when nobody
// used it for a while.
#include <csignal>
#include <string>
#include <thread>

#include "core/base/log.h"
#include "mcp/app/commands/commands.h"
#include "mcp/app/local_host.h"
#include "mcp/app/store_options.h"

namespace kvasir::app {
namespace {

using std::chrono::milliseconds;

const OptionSpec kIdle{"host-idle-ms", OptionKind::kWhole, "MS", "600000", "end after this long without a client"};
const OptionSpec kStop{"stop", OptionKind::kSwitch, "", "", "end the host that runs"};
const OptionSpec kStatus{"status", OptionKind::kSwitch, "", "", "say whether one runs"};

constexpr milliseconds kStopPatience{8000};

Result<void> say_status(Context& context) {
  const HostPlace place = KVASIR_TRY(HostPlace::open(context.paths.data_dir));
  const auto pid = place.host_pid();
  context.console->line(pid ? "running, pid " + std::to_string(*pid) : "not running");
  return {};
}

Result<void> stop_it(Context& context) {
  const HostPlace place = KVASIR_TRY(HostPlace::open(context.paths.data_dir));
  const auto pid = place.host_pid();
  if (!pid) {
    context.console->line("not running");
    return {};
  }
  if (::kill(*pid, SIGTERM) != 0) return Failure{Code::kIo, "cannot signal pid " + std::to_string(*pid)};
  const auto deadline = std::chrono::steady_clock::now() + kStopPatience;
  while (place.host_pid() == pid) {
    if (std::chrono::steady_clock::now() >= deadline)
      return Failure{Code::kDeadline,
                     "pid " + std::to_string(*pid) + " still runs; kill -9 ends it, nothing acknowledged is lost"};
    std::this_thread::sleep_for(milliseconds(10));
  }
  context.console->line("stopped pid " + std::to_string(*pid));
  return {};
}

Result<void> run(Context& context) {
  if (context.options.enabled("status")) return say_status(context);
  if (context.options.enabled("stop")) return stop_it(context);
  const LocalHostOptions options{.idle_limit = milliseconds(context.options.whole("host-idle-ms"))};
  const auto local = KVASIR_TRY(LocalHost::create(context.paths.data_dir, options));
  if (!local) return {};  // another process is the host: the front end that started us goes there
  const auto serving = KVASIR_TRY(Serving::create(context));
  local->serve(*serving);
  return serving->run();
}

}  // namespace

Command host_command() {
  return {
      {"host", "the process that kvasir mcp and kvasir rpc share; they start it themselves",
       server_options({&kIdle, &kStop, &kStatus}), "", false, false, "  kvasir host --status\n  kvasir host --stop"},
      run};
}

}  // namespace kvasir::app
