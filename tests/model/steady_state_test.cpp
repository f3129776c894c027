// What a decoded token costs beside arithmetic: no heap allocation once memory is warm, and few barriers. Counts every
// operator new of the program, so it is a program of its own.
#include <catch2/catch.hpp>

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

#include "backends/cpu/cpu_stream.h"
#include "backends/registry.h"
#include "core/model/model.h"
#include "tests/model/runner.h"
#include "tests/support/data.h"

namespace {
std::atomic<uint64_t> g_allocations{0};

void* counted(std::size_t bytes, std::size_t alignment) {
  ++g_allocations;
  void* at = alignment <= alignof(std::max_align_t) ? std::malloc(bytes) : std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (at == nullptr) throw std::bad_alloc();
  return at;
}
}  // namespace

void* operator new(std::size_t bytes) { return counted(bytes, 1); }
void* operator new[](std::size_t bytes) { return counted(bytes, 1); }
void* operator new(std::size_t bytes, std::align_val_t alignment) { return counted(bytes, static_cast<std::size_t>(alignment)); }
void* operator new[](std::size_t bytes, std::align_val_t alignment) { return counted(bytes, static_cast<std::size_t>(alignment)); }
void operator delete(void* at) noexcept { std::free(at); }
void operator delete[](void* at) noexcept { std::free(at); }
void operator delete(void* at, std::size_t) noexcept { std::free(at); }
void operator delete[](void* at, std::size_t) noexcept { std::free(at); }
void operator delete(void* at, std::align_val_t) noexcept { std::free(at); }
void operator delete[](void* at, std::align_val_t) noexcept { std::free(at); }
void operator delete(void* at, std::size_t, std::align_val_t) noexcept { std::free(at); }
void operator delete[](void* at, std::size_t, std::align_val_t) noexcept { std::free(at); }

using namespace kvasir;
using namespace kvasir::test;

namespace {

struct Cost {
  uint64_t allocations = 0;  ///< in `kSteps` steps
  uint32_t barriers = 0;     ///< of the last step
  uint32_t layers = 0;
};
constexpr uint32_t kSteps = 8;

/// One sequence, one token a step, on the best CPU kernels with two threads.
Cost decode(const std::filesystem::path& file) {
  auto backend = BackendRegistry::create().open(usable_cpu_backends().front(), {.threads = 2});
  REQUIRE(backend);
  auto model = Model::load(file.string(), **backend, {});
  REQUIRE(model);
  (*model)->choose_context(64);
  const KvPoolSpec spec = (*model)->kv_spec(KvType::kF16, 1, 1, 1);
  auto pool = (*backend)->create_kv_pool(spec);
  auto stream = (*backend)->open_stream({});
  REQUIRE(pool);
  REQUIRE(stream);
  StepLayout layout;
  layout.rows = 1;
  layout.sequences.push_back({.first_row = 0, .n_rows = 1, .pages = {}});
  layout.sequences[0].pages.assign(spec.group_pages.size(), {0});
  const std::vector<TokenId> token = {5};
  const std::vector<uint32_t> wanted = {0};
  std::vector<float> logits((*model)->description().vocab_size);
  Cost cost;
  for (uint32_t step = 0; step < 4 + kSteps; ++step) {
    layout.sequences[0].first_position = layout.sequences[0].first_slot = step;
    const uint64_t before = g_allocations;
    const auto done = (*model)->forward(**stream, **pool, layout, token, wanted, logits);
    if (step >= 4) cost.allocations += g_allocations - before;
    REQUIRE(done);
  }
  cost.barriers = static_cast<const cpu::CpuStream&>(**stream).barriers();
  cost.layers = (*model)->description().layers;
  return cost;
}

}  // namespace

TEST_CASE("a decoded token allocates nothing in model and backend, and meets at few barriers") {
  const auto root = KVASIR_NEEDS(shared_data("tiny-models"));
  struct Case {
    const char* file;
    uint32_t barriers_per_layer;
    uint32_t outside = 3;
  };
  // Dense: q k v, attention (which rotates and stores), output, gate and up, down: 5; a norm of q and k or behind a part
  // makes more. Parallel: q k v with gate and up, attention with down, output: 3. Behind the layers: the wanted rows, the
  // head, the download; learned positions are one more.
  for (const Case& c : {Case{"llama/model-bf16.gguf", 5}, Case{"qwen3/model-bf16.gguf", 6}, Case{"gemma3/model-bf16.gguf", 10}, Case{"gpt2/model-f32.gguf", 5, 4},
                        Case{"phi2/model-f16.gguf", 3}, Case{"falcon7b/model-bf16.gguf", 3}, Case{"cohere/model-bf16.gguf", 3}, Case{"gpt_neox/model-bf16.gguf", 3}}) {
    const Cost cost = decode(root / c.file);
    CAPTURE(c.file, cost.layers, cost.barriers, cost.allocations);
    CHECK(cost.allocations == 0);
    CHECK(cost.barriers <= c.barriers_per_layer * cost.layers + c.outside);
  }
}
