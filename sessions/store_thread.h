// The store's own thread: opens the store at the first task, runs tasks one after the other, brings their results back
// to the io thread. Created, stopped and destroyed on the io thread; stop() finishes what was queued, so that an
// acknowledged turn is never half written. A store that cannot be opened (locked, newer) fails the task with the reason
// and is tried again by the next one.
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

using OpenStore = std::function<Result<std::unique_ptr<SessionStore>>()>;

class StoreThread {
 public:
  /// `threaded`: false runs tasks where they are given, for a store that never waits for a disk.
  StoreThread(OpenStore open, PostToIo post_to_io, bool threaded);
  ~StoreThread() { stop(); }
  StoreThread(const StoreThread&) = delete;
  StoreThread& operator=(const StoreThread&) = delete;

  /// Called on the io thread, once, when the store can be trusted with nothing more. Before the first task.
  void on_lost(std::function<void(const std::string& reason)> call) { on_lost_ = std::move(call); }
  /// Finishes what is queued and joins. Idempotent; nothing may be run afterwards.
  void stop();

  /// Calls `work(store)` on the store's thread, then `then(result)` on the io thread.
  template <class Work, class Then>
  void run(Work work, Then then) {
    enqueue([this, work = std::move(work), then = std::move(then)]() mutable {
      using Outcome = std::invoke_result_t<Work&, SessionStore&>;
      auto opened = ensure_open();
      Outcome result = opened ? work(*store_) : Outcome(Failure(std::move(opened).error()));
      notice_loss();  // first: whoever reads the answer finds that it is known
      post_to_io_([then = std::move(then), result = std::move(result)]() mutable { then(std::move(result)); });
    });
  }

 private:
  void enqueue(UniqueFunction<void()> task);
  void loop();
  Result<void> ensure_open();
  void notice_loss();

  OpenStore open_;
  std::unique_ptr<SessionStore> store_;  // store thread only
  PostToIo post_to_io_;
  std::function<void(const std::string&)> on_lost_;
  bool loss_told_ = false;  // store thread only
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<UniqueFunction<void()>> tasks_;  // guarded by mutex_; bounded by the calls in flight
  bool stop_ = false;                         // guarded by mutex_
  const bool threaded_;
  std::thread thread_;  // started by the first task
};

}  // namespace kvasir
