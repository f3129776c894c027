// Events on their way to the front. Bounded by design: the text deltas of one generation join into one event until they
// are polled, of its Progress and PartialResult only the newest stay, and final events are as many as there were commands. Thread-safe;
// poll() from one thread.
#pragma once

#include <functional>
#include <list>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "core/engine/messages.h"

namespace kvasir {

/// True for the event that ends its command.
bool is_final(const Event& event) noexcept;
GenerationId event_id(const Event& event) noexcept;

class Outbox {
 public:
  /// Set once, before the first post(). Called without the lock, from posting threads.
  void set_wake(std::function<void()> wake);
  void post(Event event);
  std::optional<Event> poll();
  /// Final events that nobody has polled yet.
  size_t unpolled_finals() const;
  /// After this nothing is posted and nobody is woken.
  void close();

 private:
  using Queue = std::list<Event>;
  struct Pending {
    std::optional<Queue::iterator> delta, progress, partial;
    std::optional<Queue::iterator>& slot(const Event& event);
  };

  void enqueue(Event event);

  mutable std::mutex mutex_;
  Queue queue_;                                           // guarded by mutex_, as all below
  std::unordered_map<GenerationId, Pending> pending_;
  std::function<void()> wake_;
  size_t finals_ = 0;
  bool woken_ = false;                                    // until poll() finds nothing
  bool closed_ = false;
};

}  // namespace kvasir
