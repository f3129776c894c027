#include "sessions/store_thread.h"

namespace kvasir {

StoreThread::StoreThread(OpenStore open, PostToIo post_to_io, bool threaded)
    : open_(std::move(open)), post_to_io_(std::move(post_to_io)), threaded_(threaded) {}

Result<void> StoreThread::ensure_open() {
  if (!store_) store_ = KVASIR_TRY(open_());
  return {};
}

void StoreThread::notice_loss() {
  if (loss_told_ || !store_ || !on_lost_) return;
  auto reason = store_->lost();
  if (!reason) return;
  loss_told_ = true;
  post_to_io_([this, reason = std::move(*reason)] { on_lost_(reason); });
}

void StoreThread::stop() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void StoreThread::enqueue(UniqueFunction<void()> task) {
  if (!threaded_) return task();
  if (!thread_.joinable()) thread_ = std::thread([this] { loop(); });
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  wake_.notify_one();
}

void StoreThread::loop() {
  for (;;) {
    UniqueFunction<void()> task;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stop_ || !tasks_.empty(); });
      if (tasks_.empty()) break;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task();
  }
  store_.reset();  // gives the folder's lock back
}

}  // namespace kvasir
