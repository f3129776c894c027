#include "core/engine/side_worker.h"

#include <algorithm>
#include <utility>

namespace kvasir {

SideWorker::SideWorker() : thread_([this] { run(); }) {}

void SideWorker::post(Job job) {
  {
    const std::lock_guard lock(mutex_);
    if (!stopping_) {
      jobs_.push_back(std::move(job));
      changed_.notify_one();
      return;
    }
  }
  if (job.cancelled) job.cancelled();
}

void SideWorker::cancel(GenerationId id) {
  Job job;
  {
    const std::lock_guard lock(mutex_);
    const auto found = std::ranges::find_if(jobs_, [&](const Job& waiting) { return waiting.id == id; });
    if (found == jobs_.end()) return;
    job = std::move(*found);
    jobs_.erase(found);
  }
  if (job.cancelled) job.cancelled();
}

void SideWorker::stop() {
  std::deque<Job> left;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    left.swap(jobs_);
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
  for (Job& job : left) {
    if (job.cancelled) job.cancelled();
  }
}

void SideWorker::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    if (stopping_) return;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    job.run();
    job = {};
    lock.lock();
  }
}

}  // namespace kvasir
