// Every call to the machine fails once, in turn, from the first upload to the last step: the error comes out typed, memory
// is released, and a failure that was not sticky leaves a backend that works.
#include <catch2/catch.hpp>

#include "tests/cuda/backend_life.h"
#include "tests/cuda/emulated_lab.h"
#include "tests/cuda/failing_device.h"

using namespace kvasir;
using namespace kvasir::test;

namespace {

Life live_with(FailurePlan& plan) { return Life(std::make_unique<FailingDevice>(std::make_unique<cuda::emulation::EmulatedDevice>(), plan)); }

}  // namespace

TEST_CASE("each call to the machine may fail: typed, without a leak, and what was not sticky is over", "[cuda][failures]") {
  FailurePlan whole;
  const Life fine = live_with(whole);
  REQUIRE_FALSE(fine.error);
  REQUIRE(whole.calls > 60);
  CHECK(whole.live == 0);
  for (const bool sticky : {false, true}) {
    uint64_t survived = 0;
    for (uint64_t at = 0; at < whole.calls; ++at) {
      FailurePlan plan{.fail_at = at, .sticky = sticky, .out_of_memory = !sticky && at % 2 == 0};
      const Life life = live_with(plan);
      CAPTURE(sticky, at);
      CHECK(plan.live == 0);
      CHECK(life.stream_after == !sticky);
      if (!life.error) {
        ++survived;  // a capture that failed: the step ran launch by launch instead
        CHECK(life.y == fine.y);
        continue;
      }
      CHECK(life.error->code == (plan.out_of_memory ? Code::kTooLarge : Code::kBackend));
      CHECK_FALSE(life.error->message.empty());
    }
    if (sticky) CHECK(survived == 0);
    else CHECK(survived > 5);
  }
}

TEST_CASE("a pool that does not fit is refused with sizes before anything is taken", "[cuda][failures]") {
  FailurePlan plan;
  cuda::CudaOptions options;
  cuda::CudaBackend backend(std::make_unique<FailingDevice>(std::make_unique<cuda::emulation::EmulatedDevice>(cuda::emulation::EmulatedOptions{.memory_bytes = uint64_t{1} << 30}), plan),
                            options, {"cuda", "emulated", "", 1, 1});
  const auto pool = backend.create_kv_pool({.type = KvType::kF16, .layers = {{0, 8, 128, 128}}, .group_pages = {40000}, .state_floats = {}, .state_slots = 0});
  REQUIRE_FALSE(pool);
  CHECK(pool.error().code == Code::kTooLarge);
  CHECK_THAT(pool.error().message, Catch::Contains("MiB"));
  CHECK(plan.live == 0);
}
