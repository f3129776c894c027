// Every call to the machine fails once, in turn, from the first upload to the last step: the error comes out typed, memory
// is released, and a failure that was not sticky leaves a backend that works.
#include <catch2/catch.hpp>

#include <cstring>
#include <optional>

#include "tests/cuda/emulated_lab.h"
#include "tests/cuda/failing_device.h"

using namespace kvasir;
using namespace kvasir::test;

namespace {

constexpr uint32_t kCols = 64;

struct Bytes final : ByteSource {
  std::vector<std::byte> bytes = random_tensor(TensorType::kQ4_0, 32, kCols, 1);
  Result<void> read(uint64_t offset, std::span<std::byte> into) const override {
    std::memcpy(into.data(), bytes.data() + offset, into.size());
    return {};
  }
};

/// A whole life: two weights, a pool, a stream, four equal steps (eager, captured, replayed) and a page written out.
struct Life {
  std::vector<float> y = std::vector<float>(32, 0.0F);
  std::optional<Error> error;
  bool stream_after = false;  ///< a new stream could be had after the error

  explicit Life(FailurePlan& plan) {
    cuda::CudaOptions options;
    options.stream = {.arena_bytes = 4096, .mirror_bytes = 512};
    options.slab_bytes = 0;
    cuda::CudaBackend backend(std::make_unique<FailingDevice>(std::make_unique<cuda::emulation::EmulatedDevice>(), plan), options, {"cuda", "emulated", "", 1, 1});
    const auto done = live(backend);
    if (!done) error = done.error();
    stream_after = backend.open_stream({}).has_value();
  }

  Result<void> live(Backend& backend) {
    const Bytes source;
    const HostTensor tensor{.name = "w", .type = TensorType::kQ4_0, .rows = 32, .cols = kCols, .source = &source};
    const auto w = KVASIR_TRY(backend.upload(tensor, WeightUse::kTableAndMatrix));
    const auto pool = KVASIR_TRY(backend.create_kv_pool({.type = KvType::kF16, .layers = {{0, 1, 32, 32}}, .group_pages = {2}, .state_floats = {8}, .state_slots = 2}));
    KVASIR_TRY(pool->zero_state(1));
    const auto stream = KVASIR_TRY(backend.open_stream({}));
    for (uint32_t step = 0; step < 4; ++step) KVASIR_TRY(run(*stream, *pool, *w, step));
    std::vector<std::byte> page(pool->page_bytes(0));
    KVASIR_TRY(pool->export_page(0, 0, page));
    KVASIR_TRY(pool->import_page(0, 1, page));
    KVASIR_TRY(pool->copy_page(0, 1, 0));
    const std::vector<uint32_t> rows(kPageTokens, 2);
    const std::vector<PageId> from = {0}, to = {1};
    KVASIR_TRY(pool->gather({.kv_layer = 0, .from = from, .rows = rows, .to = to, .turns = {}}));
    return pool->copy_state(0, 1);
  }

  Result<void> run(Stream& s, KvPool& pool, const Weight& w, uint32_t position) {
    StepLayout layout = layout_of({1}, {position});
    AttentionMass mass{.first_row = 0, .n_rows = 1, .slots = 2, .layers = {{0.0F, 0.0F}}};
    if (position == 0) layout.masses = {&mass};
    const TokenId ids[] = {3};
    s.begin(layout, &pool);
    const Mat x = s.alloc(1, kCols), out = s.alloc(1, 32);
    s.embed(x, w, ids, 1.0F);
    const Mat k{x.data, 1, 32, x.stride};
    s.store_kv(0, k, k);
    s.attention(k, k, {.kv_layer = 0, .n_heads = 1, .scale = 0.2F});
    const LinearSpec part{.y = out, .weight = &w};
    s.linear(std::span(&part, 1), x);
    s.download(y, out);
    return s.finish();
  }
};

}  // namespace

TEST_CASE("each call to the machine may fail: typed, without a leak, and what was not sticky is over", "[cuda][failures]") {
  FailurePlan whole;
  const Life fine(whole);
  REQUIRE_FALSE(fine.error);
  REQUIRE(whole.calls > 60);
  CHECK(whole.live == 0);
  for (const bool sticky : {false, true}) {
    uint64_t survived = 0;
    for (uint64_t at = 0; at < whole.calls; ++at) {
      FailurePlan plan{.fail_at = at, .sticky = sticky, .out_of_memory = !sticky && at % 2 == 0};
      const Life life(plan);
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
