// What the stream does beside its ops: chunks, graphs, memory, mistakes.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "tests/cuda/emulated_lab.h"

using namespace kvasir;
using namespace kvasir::test;

namespace {

constexpr uint32_t kHeads = 4, kKvHeads = 2, kDim = 32;

KvPoolSpec pool_spec(uint32_t slots) { return {.type = KvType::kF16, .layers = {{0, kKvHeads, kDim, kDim}}, .group_pages = {pages_for(2, slots)}, .state_floats = {}, .state_slots = 0}; }

/// A small layer: projection, rope, cache, attention, projection. Rows depend on their sequence and slot.
std::vector<float> layer(Lab& lab, const Weight& w, const StepLayout& layout, uint32_t window = 0) {
  static const std::vector<float> frequencies(kDim / 2, 0.3F);
  return lab.run(layout, [&](Lab& l) {
    std::vector<float> all;
    for (size_t s = 0; s < layout.sequences.size(); ++s) {
      for (uint32_t i = 0; i < layout.sequences[s].n_rows; ++i) {
        Noise noise(s * 104729 + layout.sequences[s].first_slot + i);
        for (uint32_t c = 0; c < kHeads * kDim; ++c) all.push_back(noise.normal());
      }
    }
    const Mat q = l.values(layout.rows, kHeads * kDim, all);
    const Mat kv = l.stream().alloc(layout.rows, 2 * kKvHeads * kDim);
    const LinearSpec part{.y = kv, .weight = &w};
    l.stream().linear(std::span(&part, 1), q);
    Mat k = kv, v = kv;
    k.cols = v.cols = kKvHeads * kDim;
    v.data += k.cols;
    l.stream().rope_store(q, kHeads, k, kKvHeads, v, 0, {.kind = RopeKind::kHalfSplit, .dims = kDim, .inverse_frequency = frequencies});
    const Mat y = l.stream().alloc(layout.rows, kHeads * kDim);
    l.stream().attention(y, q, {.kv_layer = 0, .n_heads = kHeads, .scale = 0.2F, .window = window});
    l.output(y);
  })[0];
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

struct Bench {
  Lab lab;
  cuda::CudaStream* stream;
  const Weight* weight;
  cuda::emulation::EmulatedDevice* device;
  explicit Bench(cuda::GraphRunner::Mode mode = cuda::GraphRunner::Mode::kGraphs, Activations activations = Activations::kF32) : lab(open_emulated(activations, {}, mode)) {
    lab.make_pool(pool_spec(400));
    stream = static_cast<cuda::CudaStream*>(&lab.stream());
    weight = &lab.weight(TensorType::kQ4_K, 2 * kKvHeads * kDim, 256, 3);
    device = static_cast<cuda::emulation::EmulatedDevice*>(&static_cast<cuda::CudaBackend&>(lab.backend()).device());
    weight = &lab.weight(TensorType::kQ4_0, 2 * kKvHeads * kDim, kHeads * kDim, 3);
  }
};

}  // namespace

TEST_CASE("exact activations give a row the same bits in any chunks and beside any sequence", "[cuda][invariance]") {
  for (const uint32_t window : {0U, 70U}) {
    Bench whole;
    const auto want = layer(whole.lab, *whole.weight, layout_of({200}, {0}), window);
    Bench parts;
    std::vector<float> got;
    uint32_t done = 0;
    for (const uint32_t chunk : {1U, 2U, 61U, 1U, 70U, 1U, 1U, 63U}) {
      const auto y = layer(parts.lab, *parts.weight, layout_of({chunk}, {done}), window);
      got.insert(got.end(), y.begin(), y.end());
      done += chunk;
    }
    CHECK(same_bits(want, got));
    Bench pair;
    const auto both = layer(pair.lab, *pair.weight, layout_of({200, 5}, {0, 0}), window);
    CHECK(same_bits(want, {both.begin(), both.begin() + 200 * kHeads * kDim}));
  }
}

TEST_CASE("exact products give a row the same bits in any batch", "[cuda][invariance]") {
  Lab lab(open_emulated(Activations::kF32));
  for (const TensorType type : {TensorType::kQ4_K, TensorType::kF16, TensorType::kIQ3_S}) {
    const Weight& w = lab.weight(type, 9, 512, 8);
    const auto rows = [&](uint32_t first, uint32_t count) {
      return lab.run(count, [&](Lab& l) {
        const LinearSpec part{.y = l.stream().alloc(count, 9), .weight = &w};
        l.stream().linear(std::span(&part, 1), l.input(count, 512, 5, first));
        l.output(part.y);
      })[0];
    };
    const auto want = rows(0, 19);
    for (const uint32_t batch : {1U, 3U, 8U, 9U}) {
      std::vector<float> got;
      for (uint32_t first = 0; first < 19; first += batch) {
        const auto y = rows(first, std::min(batch, 19 - first));
        got.insert(got.end(), y.begin(), y.end());
      }
      CHECK(same_bits(want, got));
    }
  }
}

TEST_CASE("streamed products give a row the same bits alone, in four and on tensor cores", "[cuda][invariance]") {
  Lab lab(open_emulated());
  for (const TensorType type : {TensorType::kQ4_0, TensorType::kQ4_1, TensorType::kQ5_0, TensorType::kQ8_0, TensorType::kQ4_K, TensorType::kQ5_K, TensorType::kQ6_K}) {
    for (const uint32_t k : tensor_type_info(type)->block_values == 32 ? std::vector{96U, 1120U} : std::vector{256U, 2304U}) {
      const Weight& w = lab.weight(type, 150, k, 8);
      const auto rows = [&](uint32_t first, uint32_t count) {
        return lab.run(count, [&](Lab& l) {
          const LinearSpec part{.y = l.stream().alloc(count, 150), .weight = &w};
          l.stream().linear(std::span(&part, 1), l.input(count, k, 5, first));
          l.output(part.y);
        })[0];
      };
      std::vector<float> want;
      for (uint32_t first = 0; first < 41; ++first) {
        const auto y = rows(first, 1);
        want.insert(want.end(), y.begin(), y.end());
      }
      CAPTURE(tensor_type_info(type)->name, k);
      for (const uint32_t batch : {3U, 4U, 5U, 8U, 13U, 41U}) {
        std::vector<float> got;
        for (uint32_t first = 0; first < 41; first += batch) {
          const auto y = rows(first, std::min(batch, 41 - first));
          got.insert(got.end(), y.begin(), y.end());
        }
        CAPTURE(batch);
        CHECK(same_bits(want, got));
      }
    }
  }
}

TEST_CASE("a repeated step is captured once, replayed from then on, and gives the same bits as one without graphs", "[cuda][graphs]") {
  Bench graphs, eager(cuda::GraphRunner::Mode::kEager);
  for (Bench* b : {&graphs, &eager}) layer(b->lab, *b->weight, layout_of({70, 3}, {0, 0}));
  for (uint32_t step = 0; step < 12; ++step) {
    const auto layout = layout_of({1, 1}, {70 + step, 3 + step});
    CHECK(same_bits(layer(graphs.lab, *graphs.weight, layout), layer(eager.lab, *eager.weight, layout)));
  }
  const auto& counts = graphs.stream->graphs().counts();
  CHECK(counts.eager == 2);  // the prefill, the first of its kind of decode step
  CHECK(counts.captured == 1);
  CHECK(counts.replayed == 11);
  CHECK(eager.stream->graphs().counts().replayed == 0);
}

TEST_CASE("after the first steps nothing is allocated any more", "[cuda]") {
  Bench b;
  for (uint32_t step = 0; step < 4; ++step) layer(b.lab, *b.weight, layout_of({1, 1}, {step, step}));
  const uint64_t before = b.device->allocations();
  for (uint32_t step = 4; step < 20; ++step) layer(b.lab, *b.weight, layout_of({1, 1}, {step, step}));
  CHECK(b.device->allocations() == before);
}

TEST_CASE("more kinds of steps than are kept still run right", "[cuda][graphs]") {
  Bench graphs, eager(cuda::GraphRunner::Mode::kEager);
  for (int round = 0; round < 2; ++round) {
    for (uint32_t rows = 1; rows <= cuda::GraphRunner::kKept + 4; ++rows) {
      const auto layout = layout_of({rows}, {0});
      CHECK(same_bits(layer(graphs.lab, *graphs.weight, layout), layer(eager.lab, *eager.weight, layout)));
    }
  }
}

TEST_CASE("the best of a row are the largest in order, whatever is in it", "[cuda][sampling]") {
  for (const auto order : {cuda::emulation::Order::kForward, cuda::emulation::Order::kShuffled}) {
    Lab lab(open_emulated(Activations::kF32, {.order = order}));
    constexpr uint32_t kRows = 3, kCols = 9000, kCount = 41;  // three pieces, the last one short
    std::vector<float> x(kRows * kCols);
    Noise noise(9);
    for (size_t i = 0; i < x.size(); ++i) x[i] = i / kCols == 1 ? static_cast<float>(noise.bits() % 30) : noise.normal();  // row 1: many equals
    for (const uint32_t masked : {0U, 17U, 8999U}) x[2 * kCols + masked] = -INFINITY;
    std::fill(x.begin() + 2 * kCols + 20, x.begin() + 3 * kCols, -INFINITY);
    x[2 * kCols + 3] = 0.0F;
    x[2 * kCols + 2] = -0.0F;
    std::vector<Candidate> got(kRows * kCount);
    lab.run(kRows, [&](Lab& l) {
      const Mat m = l.values(kRows, kCols, x);
      l.stream().best(got, m, kCount);
      l.output(m);
    });
    for (uint32_t row = 0; row < kRows; ++row) {
      std::vector<TokenId> ids(kCols);
      std::iota(ids.begin(), ids.end(), 0);
      const float* values = x.data() + row * kCols;
      std::ranges::sort(ids, [&](TokenId a, TokenId b) { return values[a] != values[b] ? values[a] > values[b] : a < b; });
      bool same = true;
      for (uint32_t i = 0; i < kCount; ++i) {
        const Candidate& c = got[row * kCount + i];
        same = same && c.id == ids[i] && c.logit == x[row * kCols + static_cast<uint32_t>(ids[i])];
      }
      CAPTURE(row);
      CHECK(same);
    }
    x[kCols + 77] = -NAN;
    x[kCols + 80] = INFINITY;
    lab.run(kRows, [&](Lab& l) {
      const Mat m = l.values(kRows, kCols, x);
      l.stream().best(got, m, 2);
      l.output(m);
    });
    CHECK(std::isnan(got[2].logit));
    CHECK(got[2].id == 77);
    CHECK(got[3].id == 80);
    CHECK_THROWS(lab.run(1, [&](Lab& l) { l.stream().best(got, l.values(1, 4, {1, 2, 3, 4}), 5); }));
  }
}

TEST_CASE("missing pages, slots and tables are errors of the step, not reads of other memory", "[cuda]") {
  Bench b;
  auto layout = layout_of({3}, {70});
  layout.sequences[0].pages[0][0] = kNoPage;
  CHECK_THROWS(layer(b.lab, *b.weight, layout));
  layout.sequences[0].pages[0][0] = 0;
  layout.sequences[0].pages[0][1] = 10000;
  CHECK_THROWS(layer(b.lab, *b.weight, layout));
  CHECK_NOTHROW(layer(b.lab, *b.weight, layout_of({3}, {0})));
  CHECK_NOTHROW(layer(b.lab, *b.weight, layout_of({3}, {90}), 8));
  CHECK_THROWS(b.lab.run(1, [](Lab& l) { l.stream().conv(l.input(1, 4, 1), l.input(1, 4, 1), {}); }));
}
