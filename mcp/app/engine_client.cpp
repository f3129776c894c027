#include "mcp/app/engine_client.h"

#include <chrono>
#include <utility>

#include "backends/registry.h"
#include "core/engine/engine_pool.h"
#include "core/engine/outbox.h"

namespace kvasir::app {
namespace {

void set_id(CommandBody& body, GenerationId id) {
  std::visit([id](auto& command) { command.id = id; }, body);
}

}  // namespace

EngineClient::EngineClient(Interrupt& interrupt, std::string packed_weights)
    : engine_(make_engine_pool(BackendRegistry::create(), {}, nullptr, std::move(packed_weights))), interrupt_(interrupt) {
  const auto wake = [this] {
    {
      const std::lock_guard lock(mutex_);
      woken_ = true;
    }
    wake_.notify_one();
  };
  engine_->set_wake(wake);
  interrupt_.on_signal(wake);
}

EngineClient::~EngineClient() {
  interrupt_.on_signal({});
  engine_->shutdown();
}

Result<Event> EngineClient::ask(const EngineKey& engine, CommandBody body,
                                const std::function<void(const Event&)>& on_event) {
  const GenerationId id = next_id_++;
  set_id(body, id);
  if (!engine_->send({engine, std::move(body)})) return Failure{Code::kBusy, "the engine takes no more work"};
  bool cancelled = false;
  while (true) {
    while (auto event = engine_->poll()) {
      if (event_id(*event) != id) continue;
      if (auto* failed = std::get_if<Failed>(&*event)) return Failure{failed->code, std::move(failed->message)};
      if (is_final(*event)) return std::move(*event);
      on_event(*event);
    }
    if (interrupt_.signal() != 0 && !std::exchange(cancelled, true)) engine_->send({engine, Cancel{id}});
    std::unique_lock lock(mutex_);
    // The deadline only guards against a lost wake-up; the loop looks again.
    wake_.wait_for(lock, std::chrono::milliseconds(200), [this] { return woken_; });
    woken_ = false;
  }
}

Result<rpc::Json> EngineClient::call_tool(const EngineKey& engine, std::string_view name, const rpc::Json& arguments,
                                          const std::function<void(const Event&)>& on_event) {
  const mcp::Tool* tool = tools_.find(name);
  if (tool == nullptr) return Failure{Code::kInternal, "there is no tool " + std::string(name)};
  auto request = KVASIR_TRY(tool->parse(arguments));
  const Event answer = KVASIR_TRY(ask(engine, std::move(request.command), on_event));
  return tool->result(answer);
}

void show_loading(Console& console, const Event& event) {
  const auto* progress = std::get_if<Progress>(&event);
  if (progress == nullptr || progress->phase != Phase::kLoading) {
    console.end_progress();
  } else {
    console.progress("loading the model", static_cast<double>(progress->done) / 100.0);
  }
}

}  // namespace kvasir::app
