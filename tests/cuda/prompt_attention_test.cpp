// Attention of many rows of a sequence, on tensor cores: against the reference in every class of shapes, beside sequences
// with few rows, and with the same bits however a prompt is cut. Run on the emulated device here and on the real one by
// kvasir-gpu-check.
#include <catch2/catch.hpp>

#include <cstring>

#include "backends/cuda/cuda_stream.h"
#include "tests/kernels/kernel_lab.h"

using namespace kvasir;
using namespace kvasir::test;

namespace {

struct Case {
  const char* name;
  uint32_t heads, kv_heads, dim;
  AttentionSpec spec;
  KvType type = KvType::kF16;
  bool sinks = false, in_place = false;
};

const std::vector<Case> kCases = {
    {"multi-head", 2, 2, 64, {.scale = 0.125F}},
    {"three heads share", 6, 2, 64, {.scale = 0.125F}},
    {"80", 4, 1, 80, {.scale = 0.11F}},
    {"96, q8", 2, 1, 96, {.scale = 0.1F}, KvType::kQ8_0},
    {"128, 8 share", 8, 1, 128, {.scale = 0.09F}},
    {"128, q8", 4, 2, 128, {.scale = 0.09F}, KvType::kQ8_0},
    {"256", 2, 1, 256, {.scale = 0.0625F}},
    {"256, soft-cap and window", 2, 2, 256, {.scale = 0.3F, .soft_cap = 3.0F, .window = 100}},
    {"window", 7, 1, 64, {.scale = 0.125F, .window = 70}},
    {"narrow window", 2, 1, 64, {.scale = 0.125F, .window = 3}},
    {"a page's window", 2, 1, 64, {.scale = 0.125F, .window = 64}},
    {"soft-cap", 4, 2, 64, {.scale = 0.5F, .soft_cap = 3.0F}},
    {"sinks", 4, 2, 64, {.scale = 0.125F, .window = 40}, KvType::kF16, true},
    {"in place", 4, 2, 64, {.scale = 0.125F}, KvType::kF16, false, true},
    {"scores far apart", 3, 1, 64, {.scale = 4.0F}},
};
/// Steps of three sequences: new rows and cached ones. Odd counts, few rows between many, a whole page, long after short.
const std::vector<std::pair<std::vector<uint32_t>, std::vector<uint32_t>>> kSteps = {{{70, 1, 131}, {0, 0, 0}}, {{5, 65, 64}, {70, 1, 131}}, {{1, 1, 69}, {75, 66, 195}}};

KvPoolSpec pool_spec(const Case& c, uint32_t sequences) {
  return {.type = c.type, .layers = {{0, c.kv_heads, c.dim, c.dim}, {0, c.kv_heads, c.dim, c.dim}}, .group_pages = {pages_for(sequences, 320) + 4}, .state_floats = {}, .state_slots = 0};
}

/// Step i, with the pages that the sequences keep over all of them.
StepLayout step_layout(size_t i) {
  StepLayout layout = layout_of(kSteps[i].first, kSteps[i].second);
  const StepLayout whole = layout_of({320, 320, 320}, {0, 0, 0});
  for (size_t s = 0; s < layout.sequences.size(); ++s) layout.sequences[s].pages = whole.sequences[s].pages;
  return layout;
}

/// Values by sequence and slot, so that the same row is the same in any step.
std::vector<float> rows_of(const StepLayout& layout, uint32_t cols, uint64_t seed) {
  std::vector<float> all;
  for (size_t s = 0; s < layout.sequences.size(); ++s) {
    for (uint32_t i = 0; i < layout.sequences[s].n_rows; ++i) {
      Noise noise(seed * 7919 + s * 104729 + layout.sequences[s].first_slot + i);
      for (uint32_t col = 0; col < cols; ++col) all.push_back(noise.normal());
    }
  }
  return all;
}

std::vector<float> step(Lab& lab, const Case& c, const StepLayout& layout) {
  const Weight* sinks = c.sinks ? &lab.vector(std::vector<float>(c.heads, 0.7F)) : nullptr;
  return lab.run(layout, [&](Lab& l) {
    const Mat k = l.values(layout.rows, c.kv_heads * c.dim, rows_of(layout, c.kv_heads * c.dim, 1));
    const Mat v = l.values(layout.rows, c.kv_heads * c.dim, rows_of(layout, c.kv_heads * c.dim, 2));
    const Mat q = l.values(layout.rows, c.heads * c.dim, rows_of(layout, c.heads * c.dim, 3));
    const Mat y = c.in_place ? q : l.stream().alloc(layout.rows, c.heads * c.dim);
    AttentionSpec spec = c.spec;
    spec.kv_layer = 1;
    spec.n_heads = c.heads;
    spec.sinks = sinks;
    l.stream().store_kv(1, k, v);
    l.stream().attention(y, q, spec);
    l.output(y);
  })[0];
}

std::vector<std::string> library_variants() {
  auto names = usable_variants();
  for (std::string& name : names) name.insert(name.find(',') == name.npos ? name.size() : name.find(','), ", library");
  return names;
}

uint32_t launches(Lab& lab) { return static_cast<cuda::CudaStream&>(lab.stream()).launches(); }

}  // namespace

TEST_CASE("prompts attend as the reference does, in every shape", "[cuda][attention]") {
  const auto variants = library_variants();
  for (size_t which = 0; which < kCases.size(); ++which) {
    const Case& c = kCases[which];
    const std::string& variant = variants[which % variants.size()];
    Lab reference(open_reference()), cuda(open_cpu(variant, 1));
    reference.make_pool(pool_spec(c, 3));
    cuda.make_pool(pool_spec(c, 3));
    for (size_t i = 0; i < kSteps.size(); ++i) {
      CAPTURE(c.name, variant, i);
      const auto want = step(reference, c, step_layout(i));
      CHECK(relative_error(step(cuda, c, step_layout(i)), want) < (c.spec.scale > 1.0F ? 1e-2 : 1e-3));
    }
  }
}

TEST_CASE("a row of a prompt has the same bits however the prompt is cut", "[cuda][attention][invariance]") {
  for (const Case& c : kCases) {
    if (c.dim > 64 || c.sinks || c.in_place) continue;  // the same code
    const std::string variant = library_variants()[0];
    Lab whole(open_cpu(variant, 1));
    whole.make_pool(pool_spec(c, 1));
    const auto want = step(whole, c, layout_of({301}, {0}));
    Lab parts(open_cpu(variant, 1));
    parts.make_pool(pool_spec(c, 1));
    std::vector<float> got;
    uint32_t done = 0;
    for (const uint32_t chunk : {65U, 67U, 100U, 69U}) {
      const auto y = step(parts, c, layout_of({chunk}, {done}));
      got.insert(got.end(), y.begin(), y.end());
      done += chunk;
    }
    CAPTURE(c.name);
    REQUIRE(got.size() == want.size());
    CHECK(std::memcmp(got.data(), want.data(), got.size() * sizeof(float)) == 0);
  }
}

TEST_CASE("up to 64 rows of a sequence and exact activations keep to the kernel of single rows", "[cuda][attention]") {
  const Case c{"gqa", 4, 2, 64, {.scale = 0.125F}};
  const auto launches_of = [&](const std::string& variant, Activations activations, uint32_t rows, const Case& one) {
    Lab lab(open_cpu(variant, 1, activations));
    lab.make_pool(pool_spec(one, 1));
    step(lab, one, layout_of({rows}, {0}));
    return launches(lab);
  };
  const std::string fast = library_variants()[0];
  const uint32_t one_kernel = launches_of(fast, Activations::kAuto, 65, c);
  CHECK(launches_of(fast, Activations::kAuto, 300, c) == one_kernel);
  CHECK(launches_of(fast, Activations::kAuto, 64, c) == one_kernel + 1);   // and a merge
  CHECK(launches_of(fast, Activations::kF32, 65, c) == one_kernel + 3);    // in two pieces
  CHECK(launches_of(usable_variants()[0], Activations::kAuto, 65, c) == one_kernel + 3);
  CHECK(launches_of(fast, Activations::kAuto, 65, {"f32", 4, 2, 64, {.scale = 0.125F}, KvType::kF32}) == one_kernel + 3);
  CHECK(launches_of(fast, Activations::kAuto, 65, {"another head size", 4, 2, 72, {.scale = 0.125F}}) == one_kernel + 3);
}

TEST_CASE("prompts see aged pages, and masses are those of the exact kernel", "[cuda][attention]") {
  const Case c{"aged", 4, 2, 64, {.scale = 0.125F}};
  struct Seen {
    std::vector<float> y, mass;
  };
  const auto look = [&](Lab lab) {
    lab.make_pool(pool_spec(c, 1));
    step(lab, c, layout_of({192}, {0}));
    std::vector<uint32_t> rows(2 * kPageTokens);
    for (uint32_t i = 0; i < rows.size(); ++i) rows[i] = i;
    const std::vector<PageId> from = {0, 1, 2}, to = {aged_page(8, 0), aged_page(8, 1)};
    REQUIRE(lab.pool().gather({.kv_layer = 1, .from = from, .rows = rows, .to = to, .turns = {}}));
    StepLayout layout = layout_of({71}, {192});
    layout.sequences[0].pages[0] = {to[0], to[1], 2, 3, 4};
    AttentionMass mass{.first_row = 60, .n_rows = 11, .slots = 263, .layers = {{}, std::vector<float>(2 * 263)}};
    layout.masses = {&mass};
    const auto y = step(lab, c, layout);
    return Seen{y, mass.layers[1]};
  };
  const Seen want = look(Lab(open_reference()));
  for (const std::string& variant : library_variants()) {
    CAPTURE(variant);
    const Seen got = look(Lab(open_cpu(variant, 1)));
    CHECK(relative_error(got.y, want.y) < 1.5e-3);
    CHECK(relative_error(got.mass, want.mass) < 1e-5);
  }
}
