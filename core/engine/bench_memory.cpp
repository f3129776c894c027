// The probe of memory read bandwidth: the yardstick beside decode rates.
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <span>
#include <thread>
#include <vector>

#include "core/base/clock.h"
#include "core/engine/bench.h"

namespace kvasir {
namespace {

constexpr size_t kLargestBuffer = 512u << 20;
constexpr uint64_t kHugePage = uint64_t{2} << 20;
constexpr size_t kLanes = 8;  // no more than stay in SSE registers: with 32 a thread read 19 GB/s instead of 28

/// Independent sums, so that the loop is bound by memory and not by one chain of additions.
uint64_t sum_of(const uint64_t* words, size_t count) noexcept {
  std::array<uint64_t, kLanes> sums{};
  for (size_t i = 0; i + kLanes <= count; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) sums[lane] += words[i + lane];
  }
  uint64_t sum = 0;
  for (const uint64_t lane : sums) sum += lane;
  return sum;
}

}  // namespace

double measure_read_gb_s(uint32_t threads) {
  const size_t workers = std::clamp<size_t>(threads, 1, 256);
  const size_t bytes = std::min<uint64_t>(kLargestBuffer, available_memory_bytes() / 4);
  const auto mapped = static_cast<size_t>(bytes / kHugePage * kHugePage);
  void* memory = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 0;
  madvise(memory, mapped, MADV_HUGEPAGE);  // as weights have
  const std::span words(static_cast<uint64_t*>(memory), mapped / sizeof(uint64_t));
  std::ranges::fill(words, uint64_t{1});
  const size_t share = words.size() / workers;
  std::atomic<uint64_t> total{0};  // read below, so that no sum is optimised away
  const SteadyClock clock;
  std::array<double, 5> rates{};
  for (double& rate : rates) {
    const TimePoint started = clock.now();
    std::vector<std::jthread> team;
    for (size_t w = 1; w < workers; ++w) team.emplace_back([&, w] { total += sum_of(words.data() + w * share, share); });
    total += sum_of(words.data(), share);
    team.clear();  // joins
    const double seconds = Milliseconds(clock.now() - started).count() / 1000;
    rate = static_cast<double>(share * workers * sizeof(uint64_t)) / seconds / 1e9;
  }
  munmap(memory, mapped);
  return total == 0 ? 0 : *std::ranges::max_element(rates);
}

}  // namespace kvasir
