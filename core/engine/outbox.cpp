#include "core/engine/outbox.h"

#include <utility>

namespace kvasir {

bool is_final(const Event& event) noexcept {
  return !std::holds_alternative<Progress>(event) && !std::holds_alternative<TextDelta>(event) &&
         !std::holds_alternative<PartialResult>(event);
}

GenerationId event_id(const Event& event) noexcept {
  return std::visit([](const auto& body) { return body.id; }, event);
}

/// Of an event that is not final.
std::optional<Outbox::Queue::iterator>& Outbox::Pending::slot(const Event& event) {
  if (std::holds_alternative<TextDelta>(event)) return delta;
  return std::holds_alternative<Progress>(event) ? progress : partial;
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
  auto& newest = pending.slot(event);
  if (newest) {
    **newest = std::move(event);
    return;
  }
  queue_.push_back(std::move(event));
  newest = std::prev(queue_.end());
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
    auto& slot = found->second.slot(event);
    if (slot && *slot == queue_.begin()) slot.reset();
    if (!found->second.delta && !found->second.progress && !found->second.partial) pending_.erase(found);
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
