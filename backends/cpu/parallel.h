// The team of threads that runs a step: OpenMP's where KVASIR_OPENMP is on (this header hides it: only parallel.cpp
// includes omp.h), else a plain pool that ThreadSanitizer understands. One caller at a time; others wait.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

namespace kvasir::cpu {

/// All threads of a run meet here. Spins at most 50 us, then sleeps on a futex (a neighbour may hold our core).
class Barrier {
 public:
  void wait(uint32_t count) noexcept;

 private:
  alignas(64) std::atomic<uint32_t> arrived_{0};
  alignas(64) std::atomic<uint32_t> generation_{0};
};

struct Worker {
  uint32_t index = 0;
  uint32_t count = 1;  ///< threads really taking part: at most Team::size()
  Barrier* barrier = nullptr;

  void meet() const noexcept {
    if (count > 1) barrier->wait(count);
  }
  /// This worker's share [begin, end) of n items.
  uint64_t begin(uint64_t n) const noexcept { return n * index / count; }
  uint64_t end(uint64_t n) const noexcept { return n * (index + 1) / count; }
};

/// Thread-safe; runs are serialised.
class Team {
 public:
  static std::unique_ptr<Team> create(uint32_t threads);
  virtual ~Team() = default;
  uint32_t size() const noexcept { return size_; }

  /// Calls body(worker) on every thread and waits for all. `body` must not throw.
  template <class Body>
  void run(Body&& body) noexcept {
    run_raw([](void* context, const Worker& worker) { (*static_cast<std::remove_reference_t<Body>*>(context))(worker); },
            const_cast<void*>(static_cast<const void*>(&body)));
  }

 protected:
  using Call = void (*)(void* context, const Worker& worker);
  explicit Team(uint32_t threads) noexcept : size_(threads) {}
  virtual void run_raw(Call call, void* context) noexcept = 0;

  Barrier barrier_;
  std::mutex one_caller_;

 private:
  uint32_t size_;
};

/// A range of items split evenly among the workers, each taking chunks from the front of its share; who is done helps
/// the others. Lives in the stream's arena; made fresh for every op.
class alignas(64) Shares {
 public:
  struct Chunk {
    uint64_t begin, end;
  };
  void reset(uint64_t items, uint64_t chunk, uint32_t index, uint32_t workers) noexcept {
    next_.store(items * index / workers, std::memory_order_relaxed);
    end_ = items * (index + 1) / workers;
    chunk_ = chunk;
  }
  /// The next chunk for `worker` out of `shares[workers]`; empty when all is taken.
  static Chunk take(Shares* shares, uint32_t workers, uint32_t worker) noexcept {
    for (uint32_t i = 0; i < workers; ++i) {
      Shares& share = shares[(worker + i) % workers];
      if (share.next_.load(std::memory_order_relaxed) >= share.end_) continue;
      const uint64_t begin = share.next_.fetch_add(share.chunk_, std::memory_order_relaxed);
      if (begin < share.end_) return {begin, begin + share.chunk_ < share.end_ ? begin + share.chunk_ : share.end_};
    }
    return {0, 0};
  }

 private:
  std::atomic<uint64_t> next_{0};
  uint64_t end_ = 0;
  uint64_t chunk_ = 1;
};

}  // namespace kvasir::cpu
