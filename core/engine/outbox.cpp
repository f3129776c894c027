#include "core/engine/outbox.h"

#include <utility>

namespace kvasir {

bool is_final(const Event& event) noexcept {
  return !std::holds_alternative<Progress>(event) && !std::holds_alternative<TextDelta>(event);
}

GenerationId event_id(const Event& event) noexcept {
  return std::visit([](const auto& body) { return body.id; }, event);
}

void Outbox::set_wake(std::function<void()> wake) {
  const std::lock_guard lock(mutex_);
  wake_ = std::move(wake);
}

void Outbox::enqueue(Event event) {
  const GenerationId id = event_id(event);
  if (is_final(event)) {
    pending_.erase(id);  // what is queued for it stays, in order, before this
    ++finals_;
    queue_.push_back(std::move(event));
    return;
  }
  Pending& pending = pending_[id];
  if (auto* delta = std::get_if<TextDelta>(&event); delta != nullptr && pending.delta) {
    auto& waiting = std::get<TextDelta>(**pending.delta);
    waiting.text += delta->text;
    waiting.tokens_so_far = delta->tokens_so_far;
    return;
  }
  if (std::holds_alternative<Progress>(event) && pending.progress) {
    **pending.progress = std::move(event);
    return;
  }
  const bool is_delta = std::holds_alternative<TextDelta>(event);
  queue_.push_back(std::move(event));
  (is_delta ? pending.delta : pending.progress) = std::prev(queue_.end());
}

void Outbox::post(Event event) {
  std::function<void()> wake;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    enqueue(std::move(event));
    if (!std::exchange(woken_, true)) wake = wake_;
  }
  if (wake) wake();
}

std::optional<Event> Outbox::poll() {
  const std::lock_guard lock(mutex_);
  if (queue_.empty()) {
    woken_ = false;
    return std::nullopt;
  }
  Event event = std::move(queue_.front());
  if (is_final(event)) {
    --finals_;
  } else if (const auto found = pending_.find(event_id(event)); found != pending_.end()) {
    auto& slot = std::holds_alternative<TextDelta>(event) ? found->second.delta : found->second.progress;
    if (slot && *slot == queue_.begin()) slot.reset();
    if (!found->second.delta && !found->second.progress) pending_.erase(found);
  }
  queue_.pop_front();
  return event;
}

size_t Outbox::unpolled_finals() const {
  const std::lock_guard lock(mutex_);
  return finals_;
}

void Outbox::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  wake_ = nullptr;
}

}  // namespace kvasir
