// The store's own thread: tasks run there one after the other, their results come back to the io thread. Created and
// destroyed on the io thread; destruction finishes what was queued, so that an acknowledged turn is never half written.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "core/base/unique_function.h"
#include "sessions/session_store.h"

namespace kvasir {

/// Runs a task on the io thread; thread-safe; may drop tasks once the loop has ended.
using PostToIo = std::function<void(UniqueFunction<void()>)>;

class StoreThread {
 public:
  StoreThread(std::unique_ptr<SessionStore> store, PostToIo post_to_io);
  ~StoreThread();
  StoreThread(const StoreThread&) = delete;
  StoreThread& operator=(const StoreThread&) = delete;

  /// Calls `work(store)` on the store's thread, then `then(result)` on the io thread.
  template <class Work, class Then>
  void run(Work work, Then then) {
    enqueue([this, work = std::move(work), then = std::move(then)]() mutable {
      auto result = work(*store_);
      post_to_io_([then = std::move(then), result = std::move(result)]() mutable { then(std::move(result)); });
    });
  }

 private:
  void enqueue(UniqueFunction<void()> task);
  void loop();

  std::unique_ptr<SessionStore> store_;
  PostToIo post_to_io_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<UniqueFunction<void()>> tasks_;  // guarded by mutex_; bounded by the calls in flight
  bool stop_ = false;                         // guarded by mutex_
  std::thread thread_;
};

}  // namespace kvasir
