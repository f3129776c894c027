#include "mcp/app/local_host.h"

#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>

#include "core/base/log.h"
#include "mcp/app/front/host_link.h"

namespace kvasir::app {
namespace {

using SteadyTime = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kLookAround{1000};
constexpr milliseconds kDrain{5000};  // what is running may end before a newer program takes over
constexpr milliseconds kDrainPoll{10};

}  // namespace

Result<std::unique_ptr<LocalHost>> LocalHost::create(const std::string& data_dir, const LocalHostOptions& options) {
  const HostPlace place = KVASIR_TRY(HostPlace::open(data_dir));
  mcp::Build build = KVASIR_TRY(own_build());
  auto seat = KVASIR_TRY(place.take_seat());
  if (!seat) return std::unique_ptr<LocalHost>();
  return std::unique_ptr<LocalHost>(new LocalHost(*std::move(seat), std::move(build), options));
}

void LocalHost::serve(Serving& serving) {
  serving_ = &serving;
  used_ = SteadyTime::now();
  serving.server().serve_local(seat_.take_socket(), [this](const rpc::Json& greeting) { return welcome(greeting); });
  if (options_.idle_limit) watch_idleness();
  log::info("host_ready pid=" + std::to_string(::getpid()));
}

rpc::LocalWelcome LocalHost::welcome(const rpc::Json& json) {
  const auto refuse = [](const std::string& reason) { return rpc::LocalWelcome{nullptr, {{"refused", reason}}}; };
  const auto build = mcp::read_build(json);
  if (!build) return refuse(build.error().message);
  if (options_.idle_limit && build->newer_than(build_)) leave("a newer kvasir takes over");
  if (leaving_) return {nullptr, {{"leaving", true}}};
  auto greeting = mcp::read_greeting(json);
  if (!greeting) return refuse(greeting.error().message);
  used_ = SteadyTime::now();
  if (greeting->preload) {
    serving_->host().preload(std::move(greeting->engine), [](Result<void> loaded) {
      if (!loaded) log::error("preload: " + loaded.error().message);
    });
  }
  auto& host = serving_->host();
  auto& service = greeting->speaks == mcp::Greeting::Speaks::kMcp ? host.mcp_service() : host.json_rpc_service();
  return {&service, {{"ready", true}, {"pid", ::getpid()}, {"version", build_.version}}};
}

void LocalHost::watch_idleness() {
  const auto now = SteadyTime::now();
  if (serving_->server().local_connections() > 0 || serving_->host().pending_calls() > 0) used_ = now;
  if (now - used_ >= *options_.idle_limit) return leave("idle");
  serving_->server().after(std::min(kLookAround, *options_.idle_limit), [this] {
    if (!leaving_) watch_idleness();
  });
}

void LocalHost::leave(const char* reason) {
  if (std::exchange(leaving_, true)) return;
  log::info(std::string("host_leaving reason=\"") + reason + "\"");
  seat_.leave_door();
  stop_when_quiet(SteadyTime::now() + kDrain);
}

void LocalHost::stop_when_quiet(SteadyTime::time_point deadline) {
  if (serving_->host().pending_calls() == 0 || SteadyTime::now() >= deadline) return serving_->server().stop();
  serving_->server().after(kDrainPoll, [this, deadline] { stop_when_quiet(deadline); });
}

}  // namespace kvasir::app
