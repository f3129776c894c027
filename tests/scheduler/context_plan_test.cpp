#include "core/engine/context_plan.h"

#include <catch2/catch.hpp>

using namespace kvasir;

namespace {
constexpr uint64_t kGiB = 1ULL << 30;
ContextRequest base() { return {.model_max = 8192, .bytes_per_token = 23'040, .available_bytes = 20 * kGiB}; }
}  // namespace

TEST_CASE("with memory to spare the context is the model's, without a reason") {
  const auto plan = plan_context(base());
  REQUIRE(plan);
  CHECK(plan->context == 8192);
  CHECK(plan->reason.empty());
  CHECK(plan->pool_tokens >= 4 * 8192);
}

TEST_CASE("what was asked holds, up to what the model was made for") {
  ContextRequest request = base();
  request.asked = 512;
  CHECK(plan_context(request)->context == 512);
  CHECK(plan_context(request)->reason == "as asked");
  request.asked = 100'000;
  const auto plan = plan_context(request);
  CHECK(plan->context == 8192);
  CHECK(plan->reason.find("100000") != std::string::npos);
}

TEST_CASE("memory limits the context and says so; who asks may have more of it") {
  ContextRequest request = base();
  request.model_max = 131'072;
  request.available_bytes = 1 * kGiB;
  const auto plan = plan_context(request);
  REQUIRE(plan);
  CHECK(plan->context == kGiB / 4 / 23'040 / 64 * 64);
  CHECK(plan->reason.find("memory") == 0);
  CHECK(plan->pool_tokens == plan->context);
  request.asked = 30'000;
  CHECK(plan_context(request)->context == 30'000);
}

TEST_CASE("too little memory for anything useful is an error with numbers") {
  ContextRequest request = base();
  request.available_bytes = 8 << 20;
  const auto plan = plan_context(request);
  REQUIRE_FALSE(plan);
  CHECK(plan.error().code == Code::kUnavailable);
  CHECK(plan.error().message.find("8 MiB free") != std::string::npos);
}

TEST_CASE("hostile numbers are clamped") {
  ContextRequest request = base();
  request.model_max = UINT32_MAX;
  request.bytes_per_token = 0;
  const auto plan = plan_context(request);
  REQUIRE(plan);
  CHECK(plan->context <= (1U << 24));
  request.model_max = 0;
  CHECK(plan_context(request)->context == 1);
}

TEST_CASE("the cost of a geometry: growing and fixed parts") {
  KvPoolSpec spec;
  spec.type = KvType::kF16;
  spec.layers = {{.group = 0, .n_kv_heads = 3, .k_dim = 64, .v_dim = 64}, {.group = 1, .n_kv_heads = 1, .k_dim = 32, .v_dim = 32}};
  spec.group_pages = {100, 5};
  spec.state_floats = {10};
  spec.state_slots = 2;
  const std::vector<uint32_t> windows = {0, 128};
  const KvCost cost = kv_cost(spec, windows);
  CHECK(cost.bytes_per_token == 3 * 128 * 2);
  CHECK(cost.fixed_bytes == 64 * 2 * 5 * 64 + 10 * 4 * 2);
  CHECK(kv_bytes(KvType::kQ8_0, 64) == 68);
  CHECK(kv_bytes(KvType::kF32, 64) == 256);
}
