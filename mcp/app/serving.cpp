#include "mcp/app/serving.h"

#include <sys/stat.h>

#include <csignal>
#include <cstdlib>
#include <utility>

#include "backends/registry.h"
#include "core/base/log.h"
#include "core/engine/engine_pool.h"
#include "mcp/app/engine_options.h"
#include "mcp/app/exit_codes.h"
#include "mcp/app/log_options.h"
#include "mcp/app/model_choice.h"
#include "mcp/app/store_options.h"
#include "sessions/failpoints.h"

namespace kvasir::app {

const OptionSpec kPreload{"preload", OptionKind::kSwitch, "", "", "load the model now, not at the first use"};
const OptionSpec kPrivate{"private", OptionKind::kSwitch, "", "", "keep everything in this process"};
const OptionSpec kNoStore{"no-store", OptionKind::kSwitch, "", "", "write nothing to disk, no log file either"};

namespace {

/// How long an orderly end may take; clients kill after 2 s.
constexpr unsigned kGraceMs = 1500;
constexpr std::chrono::milliseconds kDrain{5000}, kDrainPoll{10};  // what runs may end before a lost store ends us

/// stdio clients hide stderr, so the servers also keep a file. Without it they still run.
Result<void> open_server_log(const Context& context) {
  log::Options options = KVASIR_TRY(log_options(context.options, log::Level::kInfo));
  KVASIR_TRY(log::open(options));
  if (context.options.enabled("no-store")) return {};
  umask(S_IRWXG | S_IRWXO);
  options.file = context.paths.log_file;
  Result<void> opened = make_private_dir(context.paths.data_dir + "/log");
  if (opened) opened = log::open(options);
  if (!opened) log::warn("no log file: " + opened.error().message);
  return {};
}

}  // namespace

Result<std::unique_ptr<Serving>> Serving::create(Context& context) {
  std::unique_ptr<Serving> serving(new Serving(context));
  mcp::HostOptions options;
  options.default_engine = KVASIR_TRY(engine_key(context.options));
  options.version = product_version();
  const StoreSettings settings = KVASIR_TRY(store_settings(context.options));
  options.autosave_tokens = settings.autosave_tokens;
  const std::string models_dir = context.paths.models_dir;
  options.resolve_model = [models_dir](const std::string& name) { return resolve_model(name, models_dir); };
  if (!context.options.enabled("no-store")) {
    StoreOptions store;
    store.limits = settings.sessions;
    if (const char* point = std::getenv("KVASIR_FAILPOINT"); point != nullptr) store.reach = arm_failpoint(point);
    options.open_sessions = [folder = context.paths.data_dir + "/sessions", store] {
      return open_session_store(folder, store);
    };
    options.durable_sessions = true;
    options.on_store_lost = [self = serving.get()](const std::string& reason) {
      self->store_lost_ = reason;
      const auto deadline = std::chrono::steady_clock::now() + kDrain;
      self->server_->after(kDrainPoll, [self, deadline] { self->stop_when_quiet(deadline); });  // answers go out first
    };
    if (auto blocks = KvBlockFiles::open(context.paths.data_dir + "/sessions/blocks", settings.blocks)) {
      options.kv_blocks = std::move(*blocks);
    } else {
      log::warn("no KV on disk: " + blocks.error().message);
    }
  }
  std::string packed = KVASIR_TRY(packed_weights_folder(context));
  if (context.options.enabled("no-store")) packed.clear();
  KVASIR_TRY(open_server_log(context));
  serving->server_ = rpc::Server::create(options.limits);
  serving->host_ = std::make_unique<mcp::Host>(
      make_engine_pool(BackendRegistry::create(), {}, options.kv_blocks, std::move(packed)), std::move(options));
  serving->host_->attach(*serving->server_);
  return serving;
}

Serving::~Serving() {
  context_.interrupt->on_signal({});
}

void Serving::stop_when_quiet(std::chrono::steady_clock::time_point deadline) {
  if (host_->pending_calls() == 0 || std::chrono::steady_clock::now() >= deadline) return server_->stop();
  server_->after(kDrainPoll, [this, deadline] { stop_when_quiet(deadline); });
}

Result<void> Serving::run() {
  if (context_.options.enabled("preload")) {
    host_->preload(KVASIR_TRY(engine_key(context_.options)), [](Result<void> loaded) {
      if (!loaded) log::error("preload: " + loaded.error().message);
    });
  }
  context_.interrupt->on_signal([this] { server_->stop(); });
  server_->run();
  const int signal = context_.interrupt->signal();
  quit_after_ms(kGraceMs, signal == SIGINT ? kInterrupted : store_lost_.empty() ? kDone : kTryAgain);
  host_->shutdown();
  if (signal == SIGINT) return Failure{Code::kCancelled, "interrupted"};
  if (!store_lost_.empty()) {
    return Failure{Code::kBusy, "the session store failed (" + store_lost_ + "); what was acknowledged is there: start again"};
  }
  return {};
}

}  // namespace kvasir::app
