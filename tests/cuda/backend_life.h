// The whole life of a CUDA backend over some Device, small: what tests of failures let fail at every place.
#pragma once

#include <cstring>
#include <optional>

#include "backends/cuda/cuda_backend.h"
#include "tests/kernels/kernel_lab.h"

namespace kvasir::test {

inline constexpr uint32_t kCols = 64;

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

  explicit Life(std::unique_ptr<cuda::Device> device) {
    cuda::CudaOptions options;
    options.stream = {.arena_bytes = 4096, .mirror_bytes = 512};
    options.slab_bytes = 0;
    cuda::CudaBackend backend(std::move(device), options, {"cuda", "emulated", "", 1, 1});
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

}  // namespace kvasir::test
