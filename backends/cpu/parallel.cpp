#include "backends/cpu/parallel.h"

#include <chrono>
#include <thread>
#include <vector>

#if defined(KVASIR_OPENMP)
#include <omp.h>
#endif

namespace kvasir::cpu {
namespace {

constexpr auto kSpin = std::chrono::microseconds(50);

void pause_briefly() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

/// Spins until `word` is no longer `old`, at most kSpin; then sleeps.
void wait_for_change(const std::atomic<uint32_t>& word, uint32_t old) noexcept {
  const auto begin = std::chrono::steady_clock::now();
  for (;;) {
    for (int i = 0; i < 64; ++i) {
      if (word.load(std::memory_order_acquire) != old) return;
      pause_briefly();
    }
    if (std::chrono::steady_clock::now() - begin > kSpin) break;
  }
  while (word.load(std::memory_order_acquire) == old) word.wait(old, std::memory_order_acquire);
}

class OneThread final : public Team {
 public:
  OneThread() noexcept : Team(1) {}

 protected:
  void run_raw(Call call, void* context) noexcept override {
    const std::scoped_lock lock(one_caller_);
    call(context, Worker{0, 1, &barrier_});
  }
};

#if defined(KVASIR_OPENMP)
class OpenMpTeam final : public Team {
 public:
  explicit OpenMpTeam(uint32_t threads) noexcept : Team(threads) {}

 protected:
  void run_raw(Call call, void* context) noexcept override {
    const std::scoped_lock lock(one_caller_);
#if defined(KMP_VERSION_MAJOR) || defined(_LIBOMP_VERSION)
    kmp_set_blocktime(1);  // ms that idle workers spin between steps; the default of 200 keeps a core from everybody
#endif
    const int threads = static_cast<int>(size());
#pragma omp parallel num_threads(threads)
    {
      const auto count = static_cast<uint32_t>(omp_get_num_threads());
      call(context, Worker{static_cast<uint32_t>(omp_get_thread_num()), count, &barrier_});
    }
  }
};
#else
class PoolTeam final : public Team {
 public:
  explicit PoolTeam(uint32_t threads) : Team(threads) {
    for (uint32_t i = 1; i < threads; ++i) helpers_.emplace_back([this, i] { serve(i); });
  }
  ~PoolTeam() override {
    stop_.store(true, std::memory_order_relaxed);
    start_.fetch_add(1, std::memory_order_release);
    start_.notify_all();
  }

 protected:
  void run_raw(Call call, void* context) noexcept override {
    const std::scoped_lock lock(one_caller_);
    call_ = call;
    context_ = context;
    start_.fetch_add(1, std::memory_order_release);
    start_.notify_all();
    call(context, Worker{0, size(), &barrier_});
    barrier_.wait(size());
  }

 private:
  void serve(uint32_t index) noexcept {
    for (uint32_t seen = 0;;) {
      wait_for_change(start_, seen);
      seen = start_.load(std::memory_order_acquire);
      if (stop_.load(std::memory_order_relaxed)) return;
      call_(context_, Worker{index, size(), &barrier_});
      barrier_.wait(size());
    }
  }

  Call call_ = nullptr;
  void* context_ = nullptr;
  std::atomic<uint32_t> start_{0};
  std::atomic<bool> stop_{false};
  std::vector<std::jthread> helpers_;
};
#endif

}  // namespace

void Barrier::wait(uint32_t count) noexcept {
  const uint32_t generation = generation_.load(std::memory_order_acquire);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == count) {
    arrived_.store(0, std::memory_order_relaxed);
    generation_.fetch_add(1, std::memory_order_seq_cst);
    generation_.notify_all();
    return;
  }
  wait_for_change(generation_, generation);
}

std::unique_ptr<Team> Team::create(uint32_t threads) {
  if (threads <= 1) return std::make_unique<OneThread>();
#if defined(KVASIR_OPENMP)
  return std::make_unique<OpenMpTeam>(threads);
#else
  return std::make_unique<PoolTeam>(threads);
#endif
}

}  // namespace kvasir::cpu
