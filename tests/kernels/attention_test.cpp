// Paged attention on every CPU variant: against the reference for all its options, and against itself: prefill in any
// chunks, decode, any number of threads give the same bits.
#include <catch2/catch.hpp>

#include <cstring>

#include "tests/kernels/kernel_lab.h"

using namespace kvasir;
using namespace kvasir::test;

namespace {

struct Case {
  const char* name;
  uint32_t heads, kv_heads, k_dim, v_dim;
  AttentionSpec spec;
  KvType type = KvType::kF16;
  bool sinks = false;
};

KvPoolSpec pool_spec(const Case& c, uint32_t sequences, uint32_t slots) {
  return {.type = c.type, .layers = {{0, c.kv_heads, c.k_dim, c.v_dim}, {0, c.kv_heads, c.k_dim, c.v_dim}},
          .group_pages = {pages_for(sequences, slots)}, .state_floats = {}, .state_slots = 0};
}

uint32_t out_dim(const Case& c) { return c.v_dim != 0 ? c.v_dim : c.spec.v_dim; }

/// Stores the rows of a layout and attends with them, on the pool's second layer.
std::vector<float> step(Lab& lab, const Case& c, const StepLayout& layout, const Weight* sinks) {
  return lab.run(layout, [&](Lab& l) {
    const uint32_t rows = layout.rows;
    // content depends on the slot and sequence only, so that chunks can be compared
    auto fill = [&](uint32_t cols, uint64_t seed) {
      std::vector<float> all;
      for (size_t s = 0; s < layout.sequences.size(); ++s) {
        for (uint32_t i = 0; i < layout.sequences[s].n_rows; ++i) {
          Noise noise(seed * 7919 + s * 104729 + layout.sequences[s].first_slot + i);
          for (uint32_t col = 0; col < cols; ++col) all.push_back(noise.normal());
        }
      }
      return l.values(rows, cols, all);
    };
    const Mat k = fill(c.kv_heads * c.k_dim, 1);
    const Mat v = c.v_dim != 0 ? fill(c.kv_heads * c.v_dim, 2) : Mat{};
    const Mat q = fill(c.heads * c.k_dim, 3);
    const Mat y = l.stream().alloc(rows, c.heads * out_dim(c));
    AttentionSpec spec = c.spec;
    spec.kv_layer = 1;
    spec.n_heads = c.heads;
    spec.sinks = sinks;
    l.stream().store_kv(1, k, v);
    l.stream().attention(y, q, spec);
    l.output(y);
  })[0];
}

const std::vector<Case> kCases = {
    {"gqa", 9, 3, 64, 64, {.scale = 0.125F}},
    {"multi-query, odd head", 5, 1, 24, 40, {.scale = 0.2F}},
    {"multi-head, wide", 2, 2, 128, 128, {.scale = 0.09F}},
    {"tiny head", 8, 4, 8, 8, {.scale = 0.35F}},
    {"window", 6, 2, 32, 32, {.scale = 0.18F, .window = 70}},
    {"narrow window", 2, 2, 16, 16, {.scale = 0.25F, .window = 3}},
    {"soft-cap", 4, 2, 64, 64, {.scale = 0.5F, .soft_cap = 3.0F}},
    {"sinks", 4, 2, 64, 64, {.scale = 0.125F, .window = 40}, KvType::kF16, true},
    {"mla", 4, 1, 48, 0, {.scale = 0.15F, .v_dim = 36}},
    {"mla, many heads", 64, 1, 40, 0, {.scale = 0.15F, .v_dim = 32}, KvType::kF32},
    {"f32 cache", 9, 3, 64, 64, {.scale = 0.125F}, KvType::kF32},
    {"q8 cache", 9, 3, 64, 64, {.scale = 0.125F}, KvType::kQ8_0},
    {"q8 cache, odd head", 4, 2, 40, 24, {.scale = 0.15F}, KvType::kQ8_0},
    {"q8 mla", 4, 1, 48, 0, {.scale = 0.15F, .v_dim = 36}, KvType::kQ8_0},
};

const Weight* make_sinks(Lab& lab, const Case& c) {
  if (!c.sinks) return nullptr;
  return &lab.vector(std::vector<float>(c.heads, 0.7F));
}

}  // namespace

TEST_CASE("attention equals the reference over several sequences, prefill then decode", "[kernels][attention]") {
  for (const Case& c : kCases) {
    Lab reference(open_reference());
    reference.make_pool(pool_spec(c, 3, 256));
    const Weight* reference_sinks = make_sinks(reference, c);
    const auto prefill = layout_of({70, 1, 130}, {0, 0, 0});
    const auto decode = layout_of({1, 3, 1}, {70, 1, 130});
    const auto want_prefill = step(reference, c, prefill, reference_sinks);
    const auto want_decode = step(reference, c, decode, reference_sinks);
    for (const std::string& variant : usable_variants()) {
      for (const Activations activations : {Activations::kAuto, Activations::kF32}) {
        Lab cpu(open_cpu(variant, 3, activations));
        cpu.make_pool(pool_spec(c, 3, 256));
        const Weight* sinks = make_sinks(cpu, c);
        CAPTURE(c.name, variant, static_cast<int>(activations));
        // 8-bit keys meet 8-bit queries, which are off by half a percent as in linear_test.cpp
        const bool rounds = activations == Activations::kAuto && c.type == KvType::kQ8_0 && c.k_dim % 32 == 0 && c.v_dim != 0;
        CHECK(relative_error(step(cpu, c, prefill, sinks), want_prefill) < (rounds ? 1.5e-2 : 3e-6));
        CHECK(relative_error(step(cpu, c, decode, sinks), want_decode) < (rounds ? 1.5e-2 : 3e-6));
      }
    }
  }
}

TEST_CASE("attention gives each row the same bits in any chunks and on any number of threads", "[kernels][attention][invariance]") {
  constexpr uint32_t kSlots = 1300;  // three splits
  for (const Case& c : kCases) {
    const uint32_t width = c.heads * out_dim(c);
    for (const std::string& variant : usable_variants()) {
      if (variant == "cpu-scalar" && c.heads > 16) continue;  // slow, and no other code
      Lab whole(open_cpu(variant, 1));
      whole.make_pool(pool_spec(c, 1, kSlots));
      const auto want = step(whole, c, layout_of({kSlots}, {0}), make_sinks(whole, c));
      for (const uint32_t threads : {1U, 2U, 3U}) {
        Lab cpu(open_cpu(variant, threads));
        cpu.make_pool(pool_spec(c, 1, kSlots));
        const Weight* sinks = make_sinks(cpu, c);
        std::vector<float> got;
        uint32_t done = 0;
        for (const uint32_t chunk : {1U, 2U, 61U, 1U, 7U, 40U, 450U, 1U, 1U, 500U, 3U, 16U, 33U, 47U, 136U, 1U}) {
          const auto y = step(cpu, c, layout_of({chunk}, {done}), sinks);
          got.insert(got.end(), y.begin(), y.end());
          done += chunk;
        }
        REQUIRE(done == kSlots);
        REQUIRE(got.size() == want.size());
        size_t first = got.size();
        for (size_t i = 0; i < got.size() && first == got.size(); ++i) {
          if (!(got[i] == want[i])) first = i;
        }
        CAPTURE(c.name, variant, threads, first / width, first % width);
        CHECK(first == got.size());
      }
    }
  }
}

TEST_CASE("a row does not see other sequences of the step, nor pages that left its window", "[kernels][attention]") {
  const Case c{"window", 4, 2, 32, 32, {.scale = 0.18F, .window = 65}};
  for (const std::string& variant : usable_variants()) {
    Lab cpu(open_cpu(variant, 2));
    cpu.make_pool(pool_spec(c, 1, 256));
    step(cpu, c, layout_of({200}, {0}), nullptr);
    auto layout = layout_of({1}, {200});
    const auto want = step(cpu, c, layout, nullptr);
    layout.sequences[0].pages[0][0] = layout.sequences[0].pages[0][1] = kNoPage;
    CHECK(step(cpu, c, layout, nullptr) == want);
    layout.sequences[0].pages[0][2] = kNoPage;  // slot 136 is still looked at
    CHECK_THROWS(step(cpu, c, layout, nullptr));
  }
}

TEST_CASE("pages move between places and pools unchanged", "[kernels][attention]") {
  for (const KvType type : {KvType::kF16, KvType::kQ8_0, KvType::kF32}) {
    const Case c{"move", 4, 2, 32, 32, {.scale = 0.18F}, type};
    for (const std::string& variant : usable_variants()) {
      Lab cpu(open_cpu(variant, 2));
      cpu.make_pool(pool_spec(c, 4, 256));
      step(cpu, c, layout_of({100}, {0}), nullptr);
      auto layout = layout_of({1}, {100});
      const auto want = step(cpu, c, layout, nullptr);
      REQUIRE(cpu.pool().copy_page(0, layout.sequences[0].pages[0][0], 9));
      std::vector<std::byte> bytes(cpu.pool().page_bytes(0));
      REQUIRE(cpu.pool().export_page(0, layout.sequences[0].pages[0][1], bytes));
      REQUIRE(cpu.pool().import_page(0, 11, bytes));
      layout.sequences[0].pages[0] = {9, 11};
      CHECK(step(cpu, c, layout, nullptr) == want);
      CHECK(!cpu.pool().copy_page(0, 0, 16));
      CHECK(!cpu.pool().import_page(0, 0, std::span(bytes).first(bytes.size() - 1)));
    }
  }
}

TEST_CASE("rope_store equals rope and store_kv", "[kernels][attention]") {
  const Case c{"rope", 4, 2, 32, 32, {.scale = 0.18F}};
  std::vector<float> frequencies;
  for (int i = 0; i < 16; ++i) frequencies.push_back(1.0F / static_cast<float>(1 + i));
  const RopeSpec rope{.kind = RopeKind::kHalfSplit, .dims = 32, .inverse_frequency = frequencies};
  for (const std::string& variant : usable_variants()) {
    std::vector<std::vector<float>> results[2];
    for (int wide = 0; wide < 2; ++wide) {
      Lab cpu(open_cpu(variant, 2));
      cpu.make_pool(pool_spec(c, 2, 1300));
      // Two sequences of one row each: attention does it itself, in one item or, behind 512 slots, in several.
      for (const auto& [rows, before] : {std::pair{90U, 0U}, std::pair{1100U, 90U}, std::pair{1U, 1190U}, std::pair{1U, 30U}}) {
        const uint32_t all = rows == 1 ? 2 : rows;
        results[wide].push_back(cpu.run(rows == 1 ? layout_of({1, 1}, {before, 10}) : layout_of({rows}, {before}), [&](Lab& l) {
          Stream& s = l.stream();
          const Mat q = l.input(all, 128, 1 + before);
          const Mat k = l.input(all, 64, 2 + before);
          const Mat v = l.input(all, 64, 3 + before);
          if (wide == 1) s.rope_store(q, 4, k, 2, v, 0, rope);
          else s.Stream::rope_store(q, 4, k, 2, v, 0, rope);
          const Mat y = s.alloc(all, 128);
          s.attention(y, q, {.kv_layer = 0, .n_heads = 4, .scale = 0.18F});
          l.output(y);
        })[0]);
      }
    }
    CAPTURE(variant);
    CHECK(results[0] == results[1]);
  }
}
