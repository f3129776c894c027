// Convolution, selective scan and gated delta rule against the reference, with state carried over steps; and the same
// bits for any chunks.
#include <catch2/catch.hpp>

#include <cmath>

#include "tests/kernels/kernel_lab.h"

using namespace kvasir;
using namespace kvasir::test;

namespace {

std::vector<float> positive(uint32_t n, uint64_t seed) {
  Noise noise(seed);
  std::vector<float> out(n);
  for (float& v : out) v = noise.uniform(0.1F, 1.0F);
  return out;
}

std::vector<float> negative(uint32_t n, uint64_t seed) {
  auto out = positive(n, seed);
  for (float& v : out) v = -v;
  return out;
}

constexpr uint64_t kStateFloats = 40 * 3 + 6 * 8 * 16 + 4 * 8 * 12;

KvPoolSpec state_pool() {
  return {.type = KvType::kF16, .layers = {}, .group_pages = {}, .state_floats = {7, kStateFloats}, .state_slots = 4};
}

/// All three ops on one layout; the content of a row depends on its sequence and slot.
std::vector<std::vector<float>> step(Lab& lab, const StepLayout& layout, const ConvSpec& conv, const ScanSpec& scan, const DeltaSpec& delta) {
  return lab.run(layout, [&](Lab& l) {
    const uint32_t rows = layout.rows;
    auto fill = [&](uint32_t cols, uint64_t seed, float size = 1.0F, float shift = 0.0F) {
      std::vector<float> all;
      for (const SequenceRows& s : layout.sequences) {
        for (uint32_t i = 0; i < s.n_rows; ++i) {
          Noise noise(seed * 7919 + s.state_slot * 104729 + s.first_slot + i);
          for (uint32_t c = 0; c < cols; ++c) all.push_back(noise.normal() * size + shift);
        }
      }
      return l.values(rows, cols, all);
    };
    Stream& s = l.stream();
    const Mat convolved = s.alloc(rows, 40);
    s.conv(convolved, fill(40, 1), conv);
    l.output(convolved);
    const Mat scanned = s.alloc(rows, 48);
    s.scan(scanned, fill(48, 2), fill(32, 3), fill(32, 4), fill(6, 5), scan);
    l.output(scanned);
    const Mat updated = s.alloc(rows, 48);
    s.delta(updated, fill(16, 6, 0.3F), fill(16, 7, 0.3F), fill(48, 8), fill(4, 9, 0.1F, -0.5F), fill(4, 10, 0.1F, 0.5F), delta);
    l.output(updated);
  });
}

struct Specs {
  ConvSpec conv;
  ScanSpec scan;
  DeltaSpec delta;
};

Specs make_specs(Lab& lab) {
  Specs specs;
  specs.conv = {.taps = &lab.weight(TensorType::kF32, 40, 4, 31, WeightUse::kVector), .bias = &lab.vector(positive(40, 32)), .state_layer = 1,
                .state_offset = 0, .activation = Activation::kSilu};
  specs.scan = {.heads = 6, .head_dim = 8, .state_dim = 16, .groups = 2, .a_log_or_a = &lab.vector(negative(6, 33)), .d = &lab.vector(positive(6, 34)),
                .dt_bias = &lab.vector(positive(6, 35)), .state_layer = 1, .state_offset = 40 * 3};
  specs.delta = {.k_heads = 2, .v_heads = 4, .k_dim = 8, .v_dim = 12, .state_layer = 1, .state_offset = 40 * 3 + 6 * 8 * 16};
  return specs;
}

}  // namespace

TEST_CASE("recurrent ops equal the reference over steps of several sequences", "[kernels]") {
  Lab reference(open_reference());
  reference.make_pool(state_pool());
  const Specs reference_specs = make_specs(reference);
  const StepLayout layouts[] = {layout_of({9, 1, 5}, {0, 0, 0}, 0), layout_of({1, 4, 2}, {9, 1, 5}, 0)};
  std::vector<std::vector<float>> want;
  for (const StepLayout& layout : layouts) {
    for (auto& y : step(reference, layout, reference_specs.conv, reference_specs.scan, reference_specs.delta)) want.push_back(std::move(y));
  }
  for (const std::string& variant : usable_variants()) {
    Lab cpu(open_cpu(variant, 3));
    cpu.make_pool(state_pool());
    const Specs specs = make_specs(cpu);
    size_t at = 0;
    for (const StepLayout& layout : layouts) {
      for (const auto& y : step(cpu, layout, specs.conv, specs.scan, specs.delta)) {
        CAPTURE(variant, at);
        CHECK(relative_error(y, want[at++]) < 1e-5);
      }
    }
  }
}

TEST_CASE("recurrent ops give the same bits in any chunks, and state can be copied and cleared", "[kernels][invariance]") {
  for (const std::string& variant : usable_variants()) {
    Lab whole(open_cpu(variant, 1));
    whole.make_pool(state_pool());
    const Specs whole_specs = make_specs(whole);
    const auto want = step(whole, layout_of({20}, {0}, 0), whole_specs.conv, whole_specs.scan, whole_specs.delta);
    Lab cpu(open_cpu(variant, 2));
    cpu.make_pool(state_pool());
    const Specs specs = make_specs(cpu);
    std::vector<std::vector<float>> got(3);
    uint32_t done = 0;
    for (const uint32_t chunk : {3U, 1U, 10U, 1U, 5U}) {
      if (done == 4) {  // a snapshot put back changes nothing
        REQUIRE(cpu.pool().copy_state(0, 2));
        step(cpu, layout_of({4}, {4}, 0), specs.conv, specs.scan, specs.delta);
        REQUIRE(cpu.pool().copy_state(2, 0));
      }
      const auto y = step(cpu, layout_of({chunk}, {done}, 0), specs.conv, specs.scan, specs.delta);
      for (size_t i = 0; i < 3; ++i) got[i].insert(got[i].end(), y[i].begin(), y[i].end());
      done += chunk;
    }
    CAPTURE(variant);
    CHECK(got == want);
    REQUIRE(cpu.pool().zero_state(0));
    CHECK(step(cpu, layout_of({20}, {0}, 0), specs.conv, specs.scan, specs.delta) == want);
  }
}
