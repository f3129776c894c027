// Weights kept as f16 for long steps: the same bits as without, as much memory as may be, and none that others need.
#include <catch2/catch.hpp>

#include <cstring>

#include "tests/cuda/emulated_lab.h"
#include "tests/cuda/failing_device.h"

using namespace kvasir;
using namespace kvasir::test;

namespace {

constexpr uint32_t kRows = 65, kOut = 48, kCols = 256;
constexpr uint64_t kCopy = uint64_t{kOut} * kCols * 2;

struct Bench {
  FailurePlan plan;
  Lab lab;
  Bench(uint64_t copy_bytes, uint64_t memory_bytes = uint64_t{8} << 30) : lab(open(copy_bytes, memory_bytes)) {}
  std::unique_ptr<Backend> open(uint64_t copy_bytes, uint64_t memory_bytes) {
    cuda::CudaOptions options;
    options.stream = {.arena_bytes = 4096, .mirror_bytes = 1024};
    options.slab_bytes = 0;
    options.headroom_bytes = memory_bytes / 8;
    options.copy_bytes = copy_bytes;
    auto device = std::make_unique<cuda::emulation::EmulatedDevice>(cuda::emulation::EmulatedOptions{.memory_bytes = memory_bytes});
    return std::make_unique<cuda::CudaBackend>(std::make_unique<FailingDevice>(std::move(device), plan), options, BackendInfo{"cuda", "emulated", "for tests", 1, 1});
  }
  cuda::CudaBackend& backend() { return static_cast<cuda::CudaBackend&>(lab.backend()); }
  uint32_t launches() { return static_cast<cuda::CudaStream&>(lab.stream()).launches(); }
  std::vector<float> product(const Weight& w, uint32_t seed = 5) {
    return lab.run(kRows, [&](Lab& l) {
      const LinearSpec part{.y = l.stream().alloc(kRows, kOut), .weight = &w};
      l.stream().linear(std::span(&part, 1), l.input(kRows, kCols, seed));
      l.output(part.y);
    })[0];
  }
  const Weight& weight(uint32_t seed, TensorType type = TensorType::kQ4_K) { return lab.weight(type, kOut, kCols, seed); }
};

}  // namespace

TEST_CASE("weights kept as f16 change no bit and are decoded once", "[cuda][copies]") {
  Bench with(UINT64_MAX), without(0);
  const Weight &a = with.weight(1), &b = without.weight(1);
  for (uint32_t step = 0; step < 4; ++step) {
    CHECK(with.product(a, step) == without.product(b, step));
    CHECK(with.launches() + (step == 0 ? 0 : 1) == without.launches());
  }
  CHECK(with.backend().copy_bytes() == kCopy);
  CHECK(without.backend().copy_bytes() == 0);
  with.product(with.weight(2, TensorType::kF16));  // lies there as f16
  CHECK(with.backend().copy_bytes() == kCopy);
  const Weight& other = with.weight(3);
  CHECK(with.product(other) == without.product(without.weight(3)));
  CHECK(with.product(a) == without.product(b));
  CHECK(with.backend().copy_bytes() == 2 * kCopy);
}

TEST_CASE("copies keep to their limit and to memory that is free", "[cuda][copies]") {
  Bench limited(kCopy);
  limited.product(limited.weight(1));
  limited.product(limited.weight(2));
  CHECK(limited.backend().copy_bytes() == kCopy);
  Bench small(UINT64_MAX);
  std::vector<const Weight*> weights;
  for (uint32_t i = 0; i < 8; ++i) weights.push_back(&small.weight(1 + i));
  small.product(*weights[0]);
  cuda::Device& device = small.backend().device();
  const cuda::MemoryState memory = *device.memory();
  const auto taken = cuda::DeviceBuffer::create(device, cuda::DeviceBuffer::Kind::kDevice, memory.free_bytes - memory.total_bytes / 4 - 3 * kCopy - kCopy / 2);  // the reserve is 1/4
  REQUIRE(taken);
  for (const Weight* w : weights) small.product(*w);
  CHECK(small.backend().copy_bytes() == 4 * kCopy);
}

TEST_CASE("copies give way to a KV pool", "[cuda][copies]") {
  Bench b(UINT64_MAX, 64 << 20);
  std::vector<const Weight*> weights;
  for (uint32_t i = 0; i < 60; ++i) weights.push_back(&b.weight(1 + i));
  std::vector<std::vector<float>> want;
  for (const Weight* w : weights) want.push_back(b.product(*w));
  CHECK(b.backend().copy_bytes() == 60 * kCopy);
  const uint64_t free = *b.backend().free_memory_bytes();
  const KvPoolSpec spec{.type = KvType::kF16, .layers = {{0, 1, 64, 64}}, .group_pages = {static_cast<uint32_t>(free / (64 * 64 * 4))}, .state_floats = {}, .state_slots = 0};
  b.lab.make_pool(spec);  // more than what was free beside the copies
  CHECK(b.backend().copy_bytes() == 0);
  CHECK(b.product(*weights[7]) == want[7]);
}

TEST_CASE("a copy whose step failed is decoded again", "[cuda][copies]") {
  Bench b(UINT64_MAX), fine(0);
  const Weight& w = b.weight(1);
  const auto want = fine.product(fine.weight(1));
  b.product(b.weight(9));  // memory is there now
  uint32_t failures = 0;
  for (uint64_t call = 0; call < 40; ++call) {
    b.plan.fail_at = b.plan.calls + call;
    std::vector<float> y = want;
    try {
      y = b.product(w);
    } catch (const std::exception&) {
      ++failures;
    }
    CHECK(y == want);
    b.plan.fail_at = UINT64_MAX;
    CHECK(b.product(w) == want);
    const KvPoolSpec all{.type = KvType::kF16, .layers = {{0, 1, 64, 64}}, .group_pages = {UINT32_MAX / 2}, .state_floats = {}, .state_slots = 0};
    CHECK_FALSE(b.backend().create_kv_pool(all));  // too large, but first the copies go
    CHECK(b.backend().copy_bytes() == 0);
  }
  CHECK(failures > 3);
}
