// linear() and its wider forms on every CPU variant against the reference backend, and against itself: results must not
// depend on batch, chunk, tile or thread.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cstring>

#include "tests/kernels/kernel_lab.h"
#include "tests/support/data.h"

using namespace kvasir;
using namespace kvasir::test;

namespace {

struct Shape {
  TensorType type;
  uint32_t rows, m, k;
};

uint32_t some_k(TensorType type, uint32_t blocks) { return tensor_type_info(type)->block_values == 1 ? 32 * blocks + 7 : blocks * tensor_type_info(type)->block_values; }

std::vector<std::vector<float>> one_linear(Lab& lab, const Weight& weight, uint32_t rows, bool grid) {
  return lab.run(rows, [&](Lab& l) {
    const auto k = static_cast<uint32_t>(weight.cols());
    const Mat x = grid ? l.grid_input(rows, k, 5) : l.input(rows, k, 5);
    const Mat y = l.stream().alloc(rows, static_cast<uint32_t>(weight.rows()));
    const LinearSpec part{.y = y, .weight = &weight};
    l.stream().linear(std::span(&part, 1), x);
    l.output(y);
  });
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/// bf16 weights meet bf16 activations there (8 bits, as the others' quantised ones).
bool rounds_activations(const std::string& variant, TensorType type) { return variant == "cpu-avx512-bf16" && type == TensorType::kBF16; }

bool is_float(TensorType type) { return tensor_type_info(type)->block_values == 1; }

}  // namespace

TEST_CASE("linear equals the reference for every type, shape and variant when quantising loses nothing", "[kernels]") {
  Lab reference(open_reference());
  for (const std::string& variant : usable_variants()) {
    Lab cpu(open_cpu(variant, 2));
    for (const TensorType type : kPackedTypes) {
      for (const Shape& shape : {Shape{type, 1, 40, some_k(type, 2)}, Shape{type, 5, 17, some_k(type, 3)}, Shape{type, 13, 64, some_k(type, 1)},
                                 Shape{type, 30, 5, some_k(type, 5)}, Shape{type, 2, 200, some_k(type, 4)}}) {
        CAPTURE(variant, tensor_type_info(type)->name, shape.rows, shape.m, shape.k);
        const auto want = one_linear(reference, reference.weight(type, shape.m, shape.k, 3), shape.rows, true);
        const auto got = one_linear(cpu, cpu.weight(type, shape.m, shape.k, 3), shape.rows, true);
        CHECK(relative_error(got[0], want[0]) < 2e-6 * (1 + shape.k / 256.0));
      }
    }
  }
}

TEST_CASE("linear with noise differs from the reference by no more than 8-bit activations explain", "[kernels]") {
  Lab reference(open_reference());
  for (const std::string& variant : usable_variants()) {
    Lab cpu(open_cpu(variant, 2));
    for (const TensorType type : kPackedTypes) {
      CAPTURE(variant, tensor_type_info(type)->name);
      const uint32_t k = some_k(type, 4);
      const auto want = one_linear(reference, reference.weight(type, 48, k, 4), 7, false);
      const auto got = one_linear(cpu, cpu.weight(type, 48, k, 4), 7, false);
      // sigma of the rounding is max|block| / 127 / sqrt(12), about 0.5 % of a value; 0.7 % of the largest output at 4 sigma
      const bool rounds = !is_float(type) || rounds_activations(variant, type);
      CHECK(relative_error(got[0], want[0]) < (rounds ? 1.5e-2 : 1e-5));
    }
  }
}

TEST_CASE("a block of large values does not coarsen the others, and an empty row stays empty", "[kernels]") {
  // Rows: all; the large blocks alone; nothing. The first less the second is what the other blocks give.
  const auto others = [](Lab& lab, TensorType type) {
    const Weight& weight = lab.weight(type, 40, 512, 9);
    const auto y = lab.run(3, [&](Lab& l) {
      std::vector<float> all(3 * 512);
      Noise noise(11);
      for (size_t i = 0; i < 512; ++i) {
        const bool large = i / 32 % 8 == 3;
        all[i] = noise.normal() * (large ? 300.0F : i / 32 == 6 ? 1e-39F : 1.0F);
        all[512 + i] = large ? all[i] : 0.0F;
      }
      const LinearSpec part{.y = l.stream().alloc(3, 40), .weight = &weight};
      l.stream().linear(std::span(&part, 1), l.values(3, 512, all));
      l.output(part.y);
    })[0];
    CHECK(std::all_of(y.begin() + 80, y.end(), [](float value) { return value == 0.0F; }));
    std::vector<float> out(40);
    for (size_t i = 0; i < 40; ++i) out[i] = y[i] - y[40 + i];
    return out;
  };
  Lab reference(open_reference());
  for (const std::string& variant : usable_variants()) {
    Lab cpu(open_cpu(variant, 2));
    for (const TensorType type : kPackedTypes) {
      if (is_float(type)) continue;
      CAPTURE(variant, tensor_type_info(type)->name);
      CHECK(relative_error(others(cpu, type), others(reference, type)) < 2e-2);
    }
  }
}

TEST_CASE("rows of any size keep their precision, and their zeros stay zeros", "[kernels]") {
  Lab reference(open_reference());
  for (const std::string& variant : usable_variants()) {
    Lab cpu(open_cpu(variant, 2));
    for (const TensorType type : kPackedTypes) {
      if (is_float(type)) continue;
      for (const float size : {1e-26F, 1e-3F, 1e20F}) {
        CAPTURE(variant, tensor_type_info(type)->name, size);
        const auto run = [&](Lab& lab) {
          const Weight& weight = lab.weight(type, 24, 512, 9);
          return lab.run(1, [&](Lab& l) {
            std::vector<float> x(512);
            Noise noise(13);
            for (size_t i = 0; i < 512; ++i) x[i] = i / 32 % 2 == 0 ? noise.normal() : 0.0F;
            for (float& value : x) value *= size;
            const LinearSpec part{.y = l.stream().alloc(1, 24), .weight = &weight};
            l.stream().linear(std::span(&part, 1), l.values(1, 512, x));
            l.output(part.y);
          })[0];
        };
        CHECK(relative_error(run(cpu), run(reference)) < 2e-2);
      }
    }
  }
}

TEST_CASE("exact activations bring every type within float rounding of the reference", "[kernels]") {
  Lab reference(open_reference());
  for (const std::string& variant : usable_variants()) {
    Lab cpu(open_cpu(variant, 2, Activations::kF32));
    for (const TensorType type : kPackedTypes) {
      for (const uint32_t rows : {1U, 6U, 29U}) {
        CAPTURE(variant, tensor_type_info(type)->name, rows);
        const uint32_t k = some_k(type, 3);
        const auto want = one_linear(reference, reference.weight(type, 35, k, 6), rows, false);
        const auto got = one_linear(cpu, cpu.weight(type, 35, k, 6), rows, false);
        CHECK(relative_error(got[0], want[0]) < 1e-5);
      }
    }
  }
}

TEST_CASE("a row's result has the same bits in any batch and on any number of threads", "[kernels][invariance]") {
  for (const std::string& variant : usable_variants()) {
    for (const Activations activations : {Activations::kAuto, Activations::kF32}) {
      for (const TensorType type : kPackedTypes) {
        CAPTURE(variant, tensor_type_info(type)->name, static_cast<int>(activations));
        const uint32_t k = some_k(type, 2);
        Lab one(open_cpu(variant, 1, activations));
        const Weight& weight = one.weight(type, 37, k, 8);
        std::vector<float> want;
        for (uint32_t row = 0; row < 40; ++row) {
          const auto y = one.run(1, [&](Lab& l) {
            const Mat x = l.input(1, k, 5, row);
            const LinearSpec part{.y = l.stream().alloc(1, 37), .weight = &weight};
            l.stream().linear(std::span(&part, 1), x);
            l.output(part.y);
          });
          want.insert(want.end(), y[0].begin(), y[0].end());
        }
        for (const uint32_t threads : {1U, 2U, 3U}) {
          Lab many(open_cpu(variant, threads, activations));
          const Weight& same = many.weight(type, 37, k, 8);
          for (const uint32_t rows : {2U, 3U, 5U, 7U, 11U, 12U, 13U, 24U, 25U, 40U}) {
            const auto got = one_linear(many, same, rows, false);
            const std::vector<float> prefix(want.begin(), want.begin() + rows * 37);
            CAPTURE(threads, rows);
            CHECK(same_bits(got[0], prefix));
          }
        }
      }
    }
  }
}

TEST_CASE("parts that share x may differ in type, bias, scale and accumulation", "[kernels]") {
  const std::vector<float> bias_values = [] {
    Noise noise(77);
    std::vector<float> out(24);
    for (float& v : out) v = noise.normal();
    return out;
  }();
  auto program = [&](Lab& lab, uint32_t rows) {
    const Weight& a = lab.weight(TensorType::kQ4_K, 33, 512, 1);
    const Weight& b = lab.weight(TensorType::kQ6_K, 24, 512, 2);
    const Weight& c = lab.weight(TensorType::kF16, 16, 512, 3);
    const Weight& d = lab.weight(TensorType::kQ8_0, 16, 512, 4);
    const Weight& bias = lab.vector(bias_values);
    return lab.run(rows, [&](Lab& l) {
      const Mat x = l.grid_input(rows, 512, 9);
      const Mat old = l.input(rows, 24, 10);
      const LinearSpec parts[] = {{.y = l.stream().alloc(rows, 33), .weight = &a},
                                  {.y = old, .weight = &b, .bias = &bias, .accumulate = true, .scale = 0.5F},
                                  {.y = l.stream().alloc(rows, 16), .weight = &c, .scale = 2.0F},
                                  {.y = l.zeros(rows, 16), .weight = &d, .accumulate = true}};
      l.stream().linear(parts, x);
      for (const LinearSpec& part : parts) l.output(part.y);
    });
  };
  Lab reference(open_reference());
  for (const std::string& variant : usable_variants()) {
    for (const uint32_t rows : {1U, 4U, 27U}) {
      Lab cpu(open_cpu(variant, 3));
      const auto want = program(reference, rows);
      const auto got = program(cpu, rows);
      for (size_t i = 0; i < want.size(); ++i) {
        CAPTURE(variant, rows, i);
        CHECK(relative_error(got[i], want[i]) < 5e-6);
      }
    }
  }
}

TEST_CASE("norm_linear, gated_linear and activated_linear equal their narrow forms", "[kernels]") {
  for (const std::string& variant : usable_variants()) {
    for (const uint32_t rows : {1U, 3U, 26U}) {
      for (const TensorType type : {TensorType::kQ4_1, TensorType::kF32}) {
        Lab cpu(open_cpu(variant, 2));
        const Weight& w = cpu.weight(type, 50, 96, 1);
        const Weight& gain = cpu.vector(std::vector<float>(96, 1.25F));
        const NormSpec norm{.weight = &gain, .eps = 1e-3F};
        const auto y = cpu.run(rows, [&](Lab& l) {
          Stream& s = l.stream();
          const Mat x = l.input(rows, 96, 2);
          const Mat up = l.input(rows, 96, 3);
          const LinearSpec parts[] = {{.y = s.alloc(rows, 50), .weight = &w}, {.y = s.alloc(rows, 50), .weight = &w},
                                      {.y = s.alloc(rows, 50), .weight = &w}, {.y = s.alloc(rows, 50), .weight = &w},
                                      {.y = s.alloc(rows, 50), .weight = &w}, {.y = s.alloc(rows, 50), .weight = &w}};
          s.norm_linear(std::span(parts, 1), x, norm);
          const Mat normed = s.alloc(rows, 96);
          s.norm(normed, x, norm);
          s.linear(std::span(parts + 1, 1), normed);
          s.gated_linear(std::span(parts + 2, 1), x, up, Activation::kSilu);
          const Mat mixed = s.alloc(rows, 96);
          s.gated(mixed, x, up, Activation::kSilu);
          s.linear(std::span(parts + 3, 1), mixed);
          s.activate(mixed, x, Activation::kGeluTanh);
          s.linear(std::span(parts + 4, 1), mixed);
          s.activated_linear(std::span(parts + 5, 1), x, Activation::kGeluTanh);  // last: it may write x
          for (const LinearSpec& part : parts) l.output(part.y);
        });
        CAPTURE(variant, rows);
        CHECK(same_bits(y[0], y[1]));
        CHECK(same_bits(y[2], y[3]));
        CHECK(same_bits(y[4], y[5]));
      }
    }
  }
}

TEST_CASE("norm_linear may accumulate onto its own input", "[kernels]") {
  Lab reference(open_reference());
  for (const std::string& variant : usable_variants()) {
    for (const uint32_t rows : {1U, 20U}) {
      auto program = [&](Lab& lab) {
        const Weight& w = lab.weight(TensorType::kF32, 64, 64, 1);
        return lab.run(rows, [&](Lab& l) {
          const Mat x = l.input(rows, 64, 2);
          const LinearSpec part{.y = x, .weight = &w, .accumulate = true};
          l.stream().norm_linear(std::span(&part, 1), x, {});
          l.output(x);
        });
      };
      Lab cpu(open_cpu(variant, 3));
      CAPTURE(variant, rows);
      CHECK(relative_error(program(cpu)[0], program(reference)[0]) < 1e-5);
    }
  }
}

TEST_CASE("AVX2 and AVX-512 tables give the same bits in linear", "[kernels]") {
  std::vector<std::string> tables;
  for (const std::string& variant : usable_variants()) {
    if (variant != "cpu-scalar" && variant != "cpu-avx512-bf16") tables.push_back(variant);
  }
  if (tables.size() < 2) return report_skip("fewer than two tables with FMA");
  for (const TensorType type : kPackedTypes) {
    std::vector<float> first;
    for (const std::string& table : tables) {
      Lab cpu(open_cpu(table, 1));
      const auto y = one_linear(cpu, cpu.weight(type, 30, some_k(type, 3), 2), 14, false);
      if (first.empty()) first = y[0];
      CAPTURE(table, tensor_type_info(type)->name);
      CHECK(same_bits(first, y[0]));
    }
  }
}
