// Pins the bits of every kernel table to its numerics_version (decisions.md 10): KV pages and receipts of one version
// must stay valid. A kernel change that alters bits fails here until dispatch.cpp raises the table's version and the new
// digest is written below.
#include <catch2/catch.hpp>

#include <cmath>
#include <cstring>

#include "tests/kernels/kernel_lab.h"

using namespace kvasir;
using namespace kvasir::test;

namespace {

struct Pin {
  const char* variant;
  uint32_t numerics_version;
  uint64_t digest;
};

// All tables with fused multiply-add agree; the scalar one rounds twice.
constexpr Pin kPins[] = {
    {"cpu-scalar", 4, 0x55304BFCCA1D6639},
    {"cpu-avx2", 4, 0xEF359AEFDEE8007B},
    {"cpu-avxvnni", 4, 0xEF359AEFDEE8007B},
    {"cpu-avx512", 4, 0xEF359AEFDEE8007B},
    {"cpu-avx512-vnni", 4, 0xEF359AEFDEE8007B},
    {"cpu-avx512-bf16", 4, 0x4409EFCF61F50F72},
};

/// FNV-1a over the bits; -0 counts as 0.
void mix(uint64_t& hash, const std::vector<float>& values) {
  for (const float v : values) {
    uint32_t bits = 0;
    std::memcpy(&bits, &v, 4);
    if (bits == 0x80000000U) bits = 0;
    for (int i = 0; i < 4; ++i) hash = (hash ^ (bits >> (8 * i) & 255U)) * 0x100000001B3U;
  }
}

uint64_t linear_digest(std::string_view variant, uint64_t hash) {
  for (const Activations activations : {Activations::kAuto, Activations::kF32}) {
    Lab lab(open_cpu(variant, 2, activations));
    for (const TensorType type : kPackedTypes) {
      const Weight& w = lab.weight(type, 45, 512, 1);
      for (const uint32_t rows : {1U, 15U}) {
        const auto y = lab.run(rows, [&](Lab& l) {
          const Mat x = l.input(rows, 512, 2);
          const LinearSpec part{.y = l.stream().alloc(rows, 45), .weight = &w};
          l.stream().linear(std::span(&part, 1), x);
          l.output(part.y);
        });
        mix(hash, y[0]);
      }
    }
  }
  return hash;
}

uint64_t rows_digest(std::string_view variant, uint64_t hash) {
  Lab lab(open_cpu(variant, 2));
  const auto y = lab.run(3, [](Lab& l) {
    Stream& s = l.stream();
    for (const NormKind kind : {NormKind::kRms, NormKind::kLayer}) {
      const Mat x = l.input(3, 333, 3);
      s.norm(x, x, {.kind = kind});
      l.output(x);
    }
    for (const Activation act : {Activation::kSilu, Activation::kGeluErf, Activation::kGeluTanh, Activation::kGeluQuick, Activation::kTanh}) {
      const Mat x = l.input(3, 333, 4, 0, 3.0F);
      s.gated(x, x, l.input(3, 333, 5), act);
      s.soft_cap(x, 7.0F);
      l.output(x);
    }
  });
  for (const auto& values : y) mix(hash, values);
  return hash;
}

uint64_t attention_digest(std::string_view variant, uint64_t hash) {
  for (const KvType type : {KvType::kF16, KvType::kQ8_0, KvType::kF32}) {
    Lab lab(open_cpu(variant, 2));
    lab.make_pool({.type = type, .layers = {{0, 2, 64, 24}}, .group_pages = {12}, .state_floats = {}, .state_slots = 0});
    for (const auto& [count, before] : {std::pair{600U, 0U}, std::pair{1U, 600U}}) {
      const auto y = lab.run(layout_of({count}, {before}), [rows = count](Lab& l) {
        l.stream().store_kv(0, l.input(rows, 128, 1), l.input(rows, 48, 2));
        const Mat out = l.stream().alloc(rows, 96);
        l.stream().attention(out, l.input(rows, 256, 3), {.kv_layer = 0, .n_heads = 4, .scale = 0.15F});
        l.output(out);
      });
      mix(hash, y[0]);
    }
  }
  return hash;
}

}  // namespace

TEST_CASE("the bits of each kernel table are those pinned for its numerics version", "[kernels][digest]") {
  for (const std::string& variant : usable_variants()) {
    const Pin* pin = nullptr;
    for (const Pin& p : kPins) {
      if (variant == p.variant) pin = &p;
    }
    REQUIRE(pin != nullptr);
    const uint64_t digest = attention_digest(variant, rows_digest(variant, linear_digest(variant, 0xCBF29CE484222325U)));
    CAPTURE(variant, digest);
    CHECK(open_cpu(variant)->info().numerics_version == pin->numerics_version);
    CHECK(digest == pin->digest);
  }
}
