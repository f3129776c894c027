// What compression needs of a KV pool: rows moved to other pages, keys turned, pages aged to 4 bits, and how much rows
// look at each slot. Every CPU variant against the reference, and against what the definition says.
#include <catch2/catch.hpp>

#include <cmath>
#include <numeric>

#include "backends/kv_rows.h"
#include "tests/kernels/kernel_lab.h"

using namespace kvasir;
using namespace kvasir::test;

namespace {

constexpr uint32_t kHeads = 6, kKvHeads = 2, kDim = 40, kRows = 160;
constexpr float kScale = 0.16F;

struct Shape {
  const char* name;
  KvType type;
  uint32_t v_dim;
};
const std::vector<Shape> kShapes = {
    {"f16", KvType::kF16, 24}, {"f32", KvType::kF32, 40}, {"q8", KvType::kQ8_0, 40}, {"mla", KvType::kF16, 0}};

/// Stores `rows` rows at slots 0... of layer 1, keys turned to positions from `first_position` on.
void fill(Lab& lab, const Shape& shape, uint32_t rows, uint32_t first_position, const RopeSpec* rope) {
  auto layout = layout_of({rows}, {0});
  layout.sequences[0].first_position = first_position;
  lab.run(layout, [&](Lab& l) {
    const Mat k = l.input(rows, kKvHeads * kDim, 2);
    const Mat v = shape.v_dim != 0 ? l.input(rows, kKvHeads * shape.v_dim, 3) : Mat{};
    if (rope != nullptr) l.stream().rope(k, kKvHeads, *rope);
    l.stream().store_kv(1, k, v);
    l.output(k);
  });
}

/// Two rows that look at all of `pages`, the first of which they store behind `slots`.
std::vector<float> look(Lab& lab, const Shape& shape, const std::vector<PageId>& pages, uint32_t slots,
                        AttentionMass* mass = nullptr, float soft_cap = 0.0F) {
  StepLayout layout = layout_of({2}, {slots});
  layout.sequences[0].pages[0] = pages;
  if (mass != nullptr) layout.masses = {mass};
  return lab.run(layout, [&](Lab& l) {
    const Mat k = l.input(2, kKvHeads * kDim, 5);
    const Mat v = shape.v_dim != 0 ? l.input(2, kKvHeads * shape.v_dim, 6) : Mat{};
    const uint32_t out = shape.v_dim != 0 ? shape.v_dim : 32;
    const Mat y = l.stream().alloc(2, kHeads * out);
    l.stream().store_kv(1, k, v);
    l.stream().attention(y, l.input(2, kHeads * kDim, 4),
                         {.kv_layer = 1, .n_heads = kHeads, .scale = kScale, .soft_cap = soft_cap, .v_dim = 32});
    l.output(y);
  })[0];
}

KvPoolSpec spec_of(const Shape& shape) {
  return {.type = shape.type, .layers = {{0, kKvHeads, kDim, shape.v_dim}, {0, kKvHeads, kDim, shape.v_dim}},
          .group_pages = {24}, .state_floats = {}, .state_slots = 0};
}

RopeSpec rope_of(const std::vector<float>& frequencies) {
  return {.kind = RopeKind::kHalfSplit, .dims = 32, .inverse_frequency = frequencies, .offset = 4};
}

std::vector<float> frequencies() {
  std::vector<float> out;
  for (int i = 0; i < 16; ++i) out.push_back(1.0F / static_cast<float>(1 + i * i));
  return out;
}

std::vector<uint32_t> every_other(uint32_t count) {
  std::vector<uint32_t> rows(count);
  for (uint32_t i = 0; i < count; ++i) rows[i] = i + i / 2;
  return rows;
}

}  // namespace

TEST_CASE("gathered rows are those of the reference: moved, turned, aged", "[kernels][compaction]") {
  const auto theta = frequencies();
  const RopeSpec rope = rope_of(theta);
  const auto rows = every_other(64);
  std::vector<int32_t> turns(64);
  for (uint32_t i = 0; i < 64; ++i) turns[i] = static_cast<int32_t>(i) - static_cast<int32_t>(rows[i]);
  for (const Shape& shape : kShapes) {
    for (const bool turned : {false, true}) {
      for (const bool aged : {false, true}) {
        if (aged && shape.type == KvType::kQ8_0) continue;  // 4 bits and 8 are too near: no room for two in a page
        const PageId to = aged ? aged_page(20, 1) : 20;
        const auto result = [&](Lab lab) {
          lab.make_pool(spec_of(shape));
          fill(lab, shape, kRows, 0, &rope);
          const auto pages = layout_of({kRows}, {0}).sequences[0].pages[0];
          const PageId target[] = {to};
          REQUIRE(lab.pool().gather({.kv_layer = 1, .from = pages, .rows = rows, .to = target,
                                     .rope = turned ? &rope : nullptr, .turns = turns}));
          return look(lab, shape, {to, 22}, 64);
        };
        const auto want = result(Lab(open_reference()));
        for (const std::string& variant : usable_variants()) {
          CAPTURE(shape.name, turned, aged, variant);
          CHECK(relative_error(result(Lab(open_cpu(variant, 2))), want) < 3e-6);
        }
      }
    }
  }
}

TEST_CASE("a moved page changes no bit, an aged one little", "[kernels][compaction]") {
  std::vector<uint32_t> all(128);
  std::iota(all.begin(), all.end(), 0U);
  for (const Shape& shape : kShapes) {
    for (const std::string& variant : usable_variants()) {
      Lab lab(open_cpu(variant, 2));
      lab.make_pool(spec_of(shape));
      fill(lab, shape, 128, 0, nullptr);
      auto pages = layout_of({128}, {0}).sequences[0].pages[0];
      const auto want = look(lab, shape, {pages[0], pages[1], 22}, 128);
      const PageId plain[] = {18, 19};
      REQUIRE(lab.pool().gather({.kv_layer = 1, .from = pages, .rows = all, .to = plain, .turns = {}}));
      CAPTURE(shape.name, variant);
      CHECK(look(lab, shape, {18, 19, 22}, 128) == want);
      if (lab.pool().abilities().aged_per_page < 2) {
        CHECK(shape.type == KvType::kQ8_0);
        continue;
      }
      CHECK(lab.pool().abilities().aged_per_page >= 3);
      const PageId aged[] = {aged_page(20, 0), aged_page(20, 2)};  // both in one page
      REQUIRE(lab.pool().gather({.kv_layer = 1, .from = pages, .rows = all, .to = aged, .turns = {}}));
      const auto rough = look(lab, shape, {aged[0], aged[1], 22}, 128);
      CHECK(relative_error(rough, want) < 0.12);
      CHECK(relative_error(rough, want) > 1e-4);  // and it is the aged page that was read
      const PageId back[] = {aged_page(21, 1), aged_page(21, 0)};
      REQUIRE(lab.pool().gather({.kv_layer = 1, .from = std::vector<PageId>{aged[0], aged[1]}, .rows = all, .to = back, .turns = {}}));
      CHECK(relative_error(look(lab, shape, {back[0], back[1], 22}, 128), rough) < 0.01);  // ageing twice is ageing once
    }
  }
}

TEST_CASE("ageing takes the scale of least error, and a fifth bit where keys lie far apart", "[kernels][compaction]") {
  double error = 0, plain = 0;
  Noise random(3);
  for (int round = 0; round < 200; ++round) {
    std::vector<float> x(kAgedGroup);
    for (float& value : x) value = random.normal();
    uint8_t q[kAgedGroup];
    const AgedGroup group = age(x, q);
    const auto [low, high] = std::minmax_element(x.begin(), x.end());
    const float step = (*high - *low) / 15.0F;
    for (size_t i = 0; i < x.size(); ++i) {
      REQUIRE(q[i] <= kAgedSteps);
      error += std::pow(aged_value(group, q[i]) - x[i], 2);
      plain += std::pow(*low + step * std::nearbyint((x[i] - *low) / step) - x[i], 2);
    }
  }
  CHECK(error < 0.88 * plain);

  uint8_t q[kAgedGroup];
  const std::vector<float> same(kAgedGroup, -2.5F);
  CHECK(aged_value(age(same, q), q[7]) == -2.5F);
  const std::vector<float> huge = {-1e30F, 1e30F, 0.0F};
  CHECK(aged_value(age(huge, q), q[0]) == -65504.0F);

  std::vector<float> keys(kPageTokens * 7);
  for (size_t i = 0; i < keys.size(); ++i) keys[i] = static_cast<float>(i / 7 % 2 * (i % 7 * 5 % 7 + 1));  // 1 6 4 2 7 5 3 apart
  CHECK(fine_channels(keys.data(), 7, 7, 7) == std::vector<bool>{false, true, false, true, true, false, true});
  CHECK(fine_channels(keys.data(), 7, 7, 0) == std::vector<bool>(7));  // no room
}

TEST_CASE("the bits of ageing are those pinned for the name of aged pages", "[kernels][compaction]") {
  Noise random(5);
  uint64_t digest = 0xCBF29CE484222325U;
  const auto mix = [&](uint64_t value) { digest = (digest ^ value) * 0x100000001B3U; };
  for (uint32_t round = 0; round < 100; ++round) {
    std::vector<float> x(1 + round % kAgedGroup);
    for (float& value : x) value = random.normal() * static_cast<float>(1 + round);
    uint8_t q[kAgedGroup];
    const AgedGroup group = age(x, q, round % 2 == 0 ? kAgedSteps : kFineSteps);
    mix(group.scale);
    mix(group.least);
    for (size_t i = 0; i < x.size(); ++i) mix(q[i]);
  }
  CAPTURE(digest);
  CHECK(digest == 0x637564EBD5B36248U);  // another one: change kAgedBytes in core/engine/context_edit.cpp too
}

TEST_CASE("a turned key is the key of the other position", "[kernels][compaction]") {
  const Shape shape{"f32", KvType::kF32, 40};
  const auto theta = frequencies();
  for (const RopeKind kind : {RopeKind::kHalfSplit, RopeKind::kInterleaved}) {
    RopeSpec rope = rope_of(theta);
    rope.kind = kind;
    for (const std::string& variant : usable_variants()) {
      Lab there(open_cpu(variant, 1)), turned(open_cpu(variant, 1));
      for (Lab* lab : {&there, &turned}) lab->make_pool(spec_of(shape));
      fill(there, shape, 64, 0, &rope);
      fill(turned, shape, 64, 700, &rope);
      std::vector<uint32_t> all(64);
      std::iota(all.begin(), all.end(), 0U);
      const std::vector<int32_t> back(64, -700);
      const PageId to[] = {20};
      const auto pages = layout_of({64}, {0}).sequences[0].pages[0];
      REQUIRE(turned.pool().gather({.kv_layer = 1, .from = pages, .rows = all, .to = to, .rope = &rope, .turns = back}));
      CAPTURE(variant, static_cast<int>(kind));
      CHECK(relative_error(look(turned, shape, {20, 22}, 64), look(there, shape, {pages[0], 22}, 64)) < 2e-4);
    }
  }
}

TEST_CASE("the attention mass is the reference's, sums to one per query, and does not depend on chunks", "[kernels][compaction]") {
  for (const Shape& shape : kShapes) {
    for (const float soft_cap : {0.0F, 2.0F}) {
      const auto mass_of = [&](Lab lab) {
        lab.make_pool(spec_of(shape));
        fill(lab, shape, kRows, 0, nullptr);
        AttentionMass mass{.first_row = 0, .n_rows = 2, .slots = kRows + 2, .layers = {}};
        mass.layers.assign(2, std::vector<float>(kKvHeads * mass.slots));
        look(lab, shape, layout_of({kRows + 2}, {0}).sequences[0].pages[0], kRows, &mass, soft_cap);
        CHECK(std::accumulate(mass.layers[0].begin(), mass.layers[0].end(), 0.0F) == 0.0F);
        return mass.layers[1];
      };
      const auto want = mass_of(Lab(open_reference()));
      CHECK(std::accumulate(want.begin(), want.end(), 0.0) == Approx(2 * kHeads));
      for (const std::string& variant : usable_variants()) {
        CAPTURE(shape.name, variant, soft_cap);
        const auto one = mass_of(Lab(open_cpu(variant, 1)));
        CHECK(relative_error(one, want) < 2e-5);
        CHECK(mass_of(Lab(open_cpu(variant, 3))) == one);
      }
    }
  }
}

TEST_CASE("the attention mass has the same bits whatever steps its rows came in", "[kernels][compaction][invariance]") {
  const Shape& shape = kShapes[0];
  for (const std::string& variant : usable_variants()) {
    const auto mass_of = [&](const std::vector<uint32_t>& chunks, uint32_t neighbours) {
      Lab lab(open_cpu(variant, 2));
      lab.make_pool(spec_of(shape));
      fill(lab, shape, 96, 0, nullptr);
      AttentionMass mass{.slots = 100, .layers = {{}, std::vector<float>(kKvHeads * 100)}};
      mass.layers[0] = mass.layers[1];
      for (uint32_t done = 0, i = 0; i < chunks.size(); done += chunks[i++]) {
        StepLayout layout = layout_of({chunks[i]}, {96 + done});
        const auto pages = layout_of({100}, {0}).sequences[0].pages;
        layout.sequences[0].pages = pages;
        if (neighbours > 0) {
          layout.rows += neighbours;
          layout.sequences.push_back({.first_row = chunks[i], .n_rows = neighbours, .pages = {{20}}});
        }
        mass.first_row = 0;
        mass.n_rows = chunks[i];
        layout.masses = {&mass};
        lab.run(layout, [&](Lab& l) {
          l.stream().store_kv(1, l.input(layout.rows, kKvHeads * kDim, 5, done), l.input(layout.rows, kKvHeads * shape.v_dim, 6, done));
          const Mat y = l.stream().alloc(layout.rows, kHeads * shape.v_dim);
          l.stream().attention(y, l.input(layout.rows, kHeads * kDim, 4, done), {.kv_layer = 1, .n_heads = kHeads, .scale = kScale, .window = 70});
          l.output(y);
        });
      }
      return mass.layers[1];
    };
    CAPTURE(variant);
    const auto want = mass_of({4}, 0);
    CHECK(std::accumulate(want.begin(), want.end(), 0.0) == Approx(4 * kHeads));
    CHECK(want[0] == 0.0F);  // outside the window
    CHECK(mass_of({1, 3}, 0) == want);
    CHECK(mass_of({4}, 2) == want);
  }
}

TEST_CASE("a gather that names what is not there is refused", "[kernels][compaction]") {
  const std::vector<PageId> from = {0, 1};
  std::vector<uint32_t> rows(64, 5);
  for (const bool reference : {true, false}) {
    Lab lab(reference ? open_reference() : open_cpu(usable_variants().front(), 1));
    lab.make_pool(spec_of(kShapes[0]));
    const PageId good[] = {7}, outside[] = {24}, part[] = {aged_page(7, 7)};
    CHECK(lab.pool().gather({.kv_layer = 1, .from = from, .rows = rows, .to = good, .turns = {}}));
    CHECK_FALSE(lab.pool().gather({.kv_layer = 2, .from = from, .rows = rows, .to = good, .turns = {}}));
    CHECK_FALSE(lab.pool().gather({.kv_layer = 1, .from = from, .rows = rows, .to = outside, .turns = {}}));
    CHECK_FALSE(lab.pool().gather({.kv_layer = 1, .from = from, .rows = rows, .to = part, .turns = {}}));
    CHECK_FALSE(lab.pool().gather({.kv_layer = 1, .from = from, .rows = std::span(rows).first(63), .to = good, .turns = {}}));
    rows[9] = 128;
    CHECK_FALSE(lab.pool().gather({.kv_layer = 1, .from = from, .rows = rows, .to = good, .turns = {}}));
    rows[9] = 5;
  }
}
