#include "mcp/engine_calls.h"

#include <algorithm>
#include <utility>
#include <variant>

namespace kvasir::mcp {

Result<GenerationId> EngineCalls::start(EngineKey engine, CommandBody body, std::shared_ptr<EngineCall> call) {
  if (closed_) return Failure(Code::kUnavailable, "the server is shutting down");
  const GenerationId id = next_id_++;
  std::visit([id](auto& command) { command.id = id; }, body);
  if (!engine_.send({engine, std::move(body)}))
    return Failure(Code::kBusy, "the engine has as many requests as it takes");
  pending_.emplace(id, Pending{std::move(engine), std::move(call)});
  return id;
}

template <class C>
void EngineCalls::control(GenerationId id) {
  const auto found = pending_.find(id);
  if (found != pending_.end()) engine_.send({found->second.engine, C{id}});
}

void EngineCalls::cancel(GenerationId id) {
  control<Cancel>(id);
}
void EngineCalls::pause(GenerationId id) {
  control<Pause>(id);
}
void EngineCalls::resume(GenerationId id) {
  control<Resume>(id);
}

bool EngineCalls::drain(size_t max_events) {
  for (size_t i = 0; i < max_events; ++i) {
    const auto event = engine_.poll();
    if (!event) return false;
    deliver(*event);
  }
  return true;
}

void EngineCalls::deliver(const Event& event) {
  const GenerationId id = std::visit([](const auto& e) { return e.id; }, event);
  const auto found = pending_.find(id);
  if (found == pending_.end()) return;
  const auto call = found->second.call;
  if (const auto* progress = std::get_if<Progress>(&event)) return call->progress(*progress);
  if (const auto* delta = std::get_if<TextDelta>(&event)) return call->delta(*delta);
  if (const auto* partial = std::get_if<PartialResult>(&event)) return call->partial(*partial);
  pending_.erase(found);
  call->final(event);
}

bool EngineCalls::begin_close() {
  closed_ = true;
  for (auto& [id, waiting] : pending_) waiting.awaited = waiting.call->closing();
  return !heard_out();
}

bool EngineCalls::heard_out() const {
  return std::ranges::none_of(pending_, [](const auto& entry) { return entry.second.awaited; });
}

void EngineCalls::close() {
  closed_ = true;
  auto pending = std::exchange(pending_, {});
  for (auto& [id, waiting] : pending)
    waiting.call->final(Failed{id, Code::kUnavailable, "the server is shutting down", 0});
}

}  // namespace kvasir::mcp
