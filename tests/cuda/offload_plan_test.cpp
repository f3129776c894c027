// Which layers go where: everything that fits, in order, with the head, and never more than asked for.
#include "backends/offload_plan.h"

#include <catch2/catch.hpp>

#include "tests/kernels/kernel_lab.h"

using namespace kvasir;

namespace {
constexpr uint64_t kGiB = uint64_t{1} << 30U;
constexpr uint32_t kCpu = OffloadPlan::kCpu;
}  // namespace

TEST_CASE("a model that fits goes whole onto one GPU, its head too", "[cuda][offload]") {
  const auto plan = plan_offload({.layer_bytes = std::vector<uint64_t>(32, kGiB / 4), .embedding_bytes = kGiB, .head_bytes = kGiB, .free_bytes = {16 * kGiB}, .headroom_bytes = kGiB, .gpu_layers = {}});
  REQUIRE(plan);
  CHECK(plan->gpu_layers == 32);
  CHECK(plan->head_device == 0);
  CHECK(plan->embedding_device == kCpu);
  CHECK(plan->used_bytes == std::vector<uint64_t>{9 * kGiB});
  CHECK_THAT(plan->reason, Catch::Contains("all 32 layers"));
}

TEST_CASE("what does not fit stays with the CPU: the last layers, and the head with them", "[cuda][offload]") {
  const auto plan = plan_offload({.layer_bytes = std::vector<uint64_t>(10, kGiB), .embedding_bytes = kGiB, .head_bytes = 0, .free_bytes = {5 * kGiB}, .headroom_bytes = kGiB / 2, .gpu_layers = {}});
  REQUIRE(plan);
  CHECK(plan->gpu_layers == 4);
  CHECK(plan->device_of_layer == std::vector<uint32_t>{0, 0, 0, 0, kCpu, kCpu, kCpu, kCpu, kCpu, kCpu});
  CHECK(plan->head_device == kCpu);
  CHECK(plan->embedding_device == kCpu);
  CHECK_THAT(plan->reason, Catch::Contains("4 of 10 layers"));
}

TEST_CASE("a number that was asked for is kept or refused with sizes", "[cuda][offload]") {
  OffloadRequest request{.layer_bytes = std::vector<uint64_t>(10, kGiB), .embedding_bytes = 0, .head_bytes = kGiB, .free_bytes = {5 * kGiB}, .headroom_bytes = 0, .gpu_layers = 3};
  REQUIRE(plan_offload(request));
  CHECK(plan_offload(request)->gpu_layers == 3);
  request.gpu_layers = 0;
  CHECK(plan_offload(request)->gpu_layers == 0);
  request.gpu_layers = 6;
  REQUIRE_FALSE(plan_offload(request));
  CHECK(plan_offload(request).error().code == Code::kTooLarge);
  CHECK_THAT(plan_offload(request).error().message, Catch::Contains("at most 5 fit"));
  request.gpu_layers = 11;
  CHECK(plan_offload(request).error().code == Code::kInvalidArgument);
}

TEST_CASE("several GPUs take runs of layers by their size", "[cuda][offload]") {
  const auto plan = plan_offload({.layer_bytes = std::vector<uint64_t>(12, kGiB), .embedding_bytes = 0, .head_bytes = kGiB, .free_bytes = {20 * kGiB, 10 * kGiB}, .headroom_bytes = 0, .gpu_layers = {}});
  REQUIRE(plan);
  CHECK(plan->gpu_layers == 12);
  CHECK(plan->device_of_layer == std::vector<uint32_t>{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1});
  CHECK(plan->head_device == 1);
}

TEST_CASE("whatever the sizes, layers are in order, nothing is overfilled, and no numbers overflow", "[cuda][offload]") {
  test::Noise noise(5);
  for (int i = 0; i < 3000; ++i) {
    OffloadRequest request;
    for (uint32_t n = noise.bits() % 20; n > 0; --n) request.layer_bytes.push_back(noise.bits() % 50 == 0 ? UINT64_MAX - noise.bits() : noise.bits() % 1000);
    for (uint32_t n = noise.bits() % 4; n > 0; --n) request.free_bytes.push_back(noise.bits() % 6000);
    request.embedding_bytes = noise.bits() % 500;
    request.head_bytes = noise.bits() % 2 == 0 ? 0 : noise.bits() % 500;
    request.headroom_bytes = noise.bits() % 300;
    if (noise.bits() % 3 == 0) request.gpu_layers = noise.bits() % 22;
    const auto plan = plan_offload(request);
    if (!plan) {
      CHECK(request.gpu_layers);
      continue;
    }
    REQUIRE(plan->device_of_layer.size() == request.layer_bytes.size());
    uint32_t on_gpu = 0, last = 0;
    bool ended = false;
    std::vector<uint64_t> used(request.free_bytes.size());
    for (size_t layer = 0; layer < plan->device_of_layer.size(); ++layer) {
      const uint32_t device = plan->device_of_layer[layer];
      ended |= device == kCpu;
      if (device == kCpu) continue;
      REQUIRE_FALSE(ended);
      REQUIRE(device >= last);
      last = device;
      ++on_gpu;
      used[device] += request.layer_bytes[layer];
    }
    CHECK(on_gpu == plan->gpu_layers);
    if (request.gpu_layers) CHECK(on_gpu == *request.gpu_layers);
    for (size_t g = 0; g < used.size(); ++g) {
      CHECK(plan->used_bytes[g] >= used[g]);
      if (plan->used_bytes[g] > 0) CHECK(plan->used_bytes[g] + request.headroom_bytes <= request.free_bytes[g]);
    }
    CHECK_FALSE(plan->reason.empty());
  }
}
