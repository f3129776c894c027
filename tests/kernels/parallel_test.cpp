// The team of threads, its barrier and the sharing of work.
#include <catch2/catch.hpp>

#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "backends/cpu/cpu_features.h"
#include "backends/cpu/parallel.h"
#include "backends/registry.h"
#include "tests/kernels/kernel_lab.h"

using namespace kvasir;
using namespace kvasir::cpu;

TEST_CASE("a team runs the body once on each of its threads", "[kernels][parallel]") {
  for (const uint32_t threads : {1U, 2U, 3U, 5U}) {
    auto team = Team::create(threads);
    CHECK(team->size() == threads);
    for (int round = 0; round < 20; ++round) {
      std::vector<std::atomic<int>> calls(threads);
      std::atomic<uint32_t> count{0};
      team->run([&](const Worker& worker) {
        calls[worker.index].fetch_add(1);
        count.store(worker.count);
      });
      REQUIRE(count.load() == threads);
      for (auto& c : calls) REQUIRE(c.load() == 1);
    }
  }
}

TEST_CASE("nobody passes the barrier before all have come, however often", "[kernels][parallel]") {
  auto team = Team::create(3);
  constexpr int kRounds = 300;
  std::atomic<int> arrived{0};
  std::atomic<int> early{0};
  team->run([&](const Worker& worker) {
    for (int round = 1; round <= kRounds; ++round) {
      if (round % 100 == 0 && worker.index == 1) std::this_thread::sleep_for(std::chrono::milliseconds(1));  // others fall asleep
      arrived.fetch_add(1);
      worker.meet();
      if (arrived.load() < round * 3) early.fetch_add(1);
      worker.meet();
    }
  });
  CHECK(early.load() == 0);
  CHECK(arrived.load() == kRounds * 3);
}

TEST_CASE("two callers of one team take turns", "[kernels][parallel]") {
  auto team = Team::create(2);
  std::atomic<int> inside{0};
  std::atomic<int> overlaps{0};
  auto caller = [&] {
    for (int i = 0; i < 50; ++i) {
      team->run([&](const Worker& worker) {
        if (worker.index == 0 && inside.fetch_add(1) != 0) overlaps.fetch_add(1);
        worker.meet();
        if (worker.index == 0) inside.fetch_sub(1);
      });
    }
  };
  std::thread other(caller);
  caller();
  other.join();
  CHECK(overlaps.load() == 0);
}

TEST_CASE("shares hand out every item exactly once, also when workers are fewer than shares", "[kernels][parallel]") {
  for (const uint32_t workers : {1U, 2U, 3U}) {
    for (const uint64_t items : {uint64_t{0}, uint64_t{1}, uint64_t{7}, uint64_t{1000}}) {
      for (const uint64_t chunk : {uint64_t{1}, uint64_t{4}, uint64_t{600}}) {
        constexpr uint32_t kShares = 3;
        auto shares = std::make_unique<Shares[]>(kShares);
        for (uint32_t i = 0; i < kShares; ++i) shares[i].reset(items, chunk, i, kShares);
        std::vector<std::atomic<int>> seen(items);
        auto team = Team::create(workers);
        team->run([&](const Worker& worker) {
          for (;;) {
            const auto [begin, end] = Shares::take(shares.get(), kShares, worker.index);
            if (begin == end) return;
            for (uint64_t i = begin; i < end; ++i) seen[i].fetch_add(1);
          }
        });
        for (auto& s : seen) REQUIRE(s.load() == 1);
      }
    }
  }
}

TEST_CASE("variants are listed best first and made only where they run", "[kernels]") {
  const auto probes = probe_cpu_backends();
  REQUIRE(!probes.empty());
  CHECK(probes.back().name == "cpu-scalar");
  CHECK(probes.back().usable);
  for (size_t i = 0; i + 1 < probes.size(); ++i) CHECK(probes[i].score > probes[i + 1].score);
  for (const Probe& probe : probes) {
    CAPTURE(probe.name);
    CHECK(!probe.reason.empty());
    auto backend = make_cpu_backend(probe.name, {.threads = 1});
    REQUIRE(static_cast<bool>(backend) == probe.usable);
    if (!backend) CHECK(backend.error().code == Code::kUnavailable);
    else CHECK((*backend)->info().name == probe.name);
  }
  auto unknown = make_cpu_backend("cpu-avx1024", {});
  REQUIRE(!unknown);
  CHECK(unknown.error().code == Code::kInvalidArgument);
  CHECK(usable_cores() >= 1);
  auto automatic = make_cpu_backend("cpu-scalar", {});
  REQUIRE(automatic);
  CHECK((*automatic)->info().threads == usable_cores());
}

TEST_CASE("memory released during a step is used again, and nothing gets mixed up", "[kernels]") {
  for (const std::string& variant : test::usable_variants()) {
    test::Lab lab(test::open_cpu(variant, 3));
    const auto y = lab.run(20, [](test::Lab& l) {
      Stream& s = l.stream();
      const Mat sum = l.zeros(20, 700);
      const float* first = nullptr;
      for (int layer = 0; layer < 30; ++layer) {
        const size_t mark = s.mark();
        const Mat part = s.alloc(20, 700);
        if (first == nullptr) first = part.data;
        CHECK(part.data == first);
        s.scale(sum, 0.5F);
        s.copy_columns(part, 0, sum, 0, 700);
        const Mat ones = l.values(20, 700, std::vector<float>(20 * 700, 1.0F));
        s.add(part, ones, 1.0F);
        s.add(sum, part, 1.0F);
        s.release(mark);
      }
      l.output(sum);
    });
    for (const float v : y[0]) REQUIRE(v == 30.0F);
  }
}
