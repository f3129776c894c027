// Row ops on every CPU variant against the reference backend: odd sizes, in-place use, all kinds.
#include <catch2/catch.hpp>

#include <cmath>

#include "tests/kernels/kernel_lab.h"

using namespace kvasir;
using namespace kvasir::test;

namespace {

using Program = std::function<void(Lab&)>;

/// Runs the program on the reference and on every variant; `prepare` uploads weights and gives the program.
void compare(uint32_t rows, double tolerance, const std::function<Program(Lab&)>& prepare) {
  Lab reference(open_reference());
  const auto want = reference.run(rows, prepare(reference));
  for (const std::string& variant : usable_variants()) {
    for (const uint32_t threads : {1U, 3U}) {
      Lab cpu(open_cpu(variant, threads));
      const auto got = cpu.run(rows, prepare(cpu));
      REQUIRE(got.size() == want.size());
      for (size_t i = 0; i < want.size(); ++i) {
        CAPTURE(variant, threads, rows, i);
        CHECK(relative_error(got[i], want[i]) < tolerance);
      }
    }
  }
}

std::vector<float> noise_vector(uint32_t n, uint64_t seed) {
  Noise noise(seed);
  std::vector<float> out(n);
  for (float& v : out) v = 1.0F + 0.3F * noise.normal();
  return out;
}

constexpr Activation kActivations[] = {Activation::kSilu,        Activation::kGeluErf, Activation::kGeluTanh, Activation::kGeluQuick,
                                       Activation::kRelu,        Activation::kReluSquared, Activation::kSigmoid, Activation::kTanh,
                                       Activation::kSoftplus,    Activation::kIdentity};

}  // namespace

TEST_CASE("norms of all kinds equal the reference", "[kernels]") {
  for (const uint32_t rows : {1U, 9U}) {
    for (const uint32_t cols : {8U, 72U, 100U, 576U}) {
      compare(rows, 2e-6, [&](Lab& lab) -> Program {
        const Weight& gain = lab.vector(noise_vector(cols, 1));
        const Weight& bias = lab.vector(noise_vector(cols, 2));
        const Weight& part_gain = lab.vector(noise_vector(cols / 4, 3));
        return [&, rows, cols](Lab& l) {
          const Mat x = l.input(rows, cols, 4, 0, 3.0F);
          for (const NormSpec& spec : {NormSpec{.weight = &gain, .eps = 1e-5F}, NormSpec{.eps = 1e-3F},
                                       NormSpec{.kind = NormKind::kLayer, .weight = &gain, .bias = &bias, .eps = 1e-5F},
                                       NormSpec{.kind = NormKind::kLayer, .weight = &gain, .groups = 2},
                                       NormSpec{.weight = &part_gain, .groups = 4}}) {
            const Mat y = l.stream().alloc(rows, cols);
            l.stream().norm(y, x, spec);
            l.output(y);
          }
          l.stream().norm(x, x, NormSpec{.weight = &gain});
          l.output(x);
        };
      });
    }
  }
}

TEST_CASE("activations equal the reference, plain, gated and in place", "[kernels]") {
  for (const uint32_t cols : {5U, 700U}) {
    compare(3, 1e-6, [&](Lab&) -> Program {
      return [cols](Lab& l) {
        for (const Activation act : kActivations) {
          const Mat x = l.input(3, cols, 1, 0, 4.0F);
          const Mat up = l.input(3, cols, 2);
          const Mat y = l.stream().alloc(3, cols);
          l.stream().activate(y, x, act);
          l.output(y);
          l.stream().gated(x, x, up, act);
          l.output(x);
        }
        const Mat gate = l.input(3, cols, 5, 0, 6.0F);
        const Mat up = l.input(3, cols, 6, 0, 6.0F);
        l.stream().gated(up, gate, up, Activation::kSwigluOai);
        l.output(up);
      };
    });
  }
}

TEST_CASE("activations keep their limits far from zero", "[kernels]") {
  const std::vector<float> points = {-1e4F, -90.0F, -20.0F, -1e-3F, 0.0F, 1e-3F, 20.0F, 90.0F, 1e4F};
  for (const std::string& variant : usable_variants()) {
    Lab cpu(open_cpu(variant));
    const auto y = cpu.run(1, [&](Lab& l) {
      for (const Activation act : {Activation::kSilu, Activation::kSigmoid, Activation::kTanh, Activation::kGeluErf, Activation::kSoftplus}) {
        const Mat x = l.values(1, static_cast<uint32_t>(points.size()), points);
        l.stream().activate(x, x, act);
        l.output(x);
      }
    });
    CAPTURE(variant);
    for (const auto& values : y) {
      for (const float v : values) CHECK(std::isfinite(v));
    }
    CHECK(y[0].front() == Approx(0.0F).margin(1e-30));
    CHECK(y[0].back() == 1e4F);
    CHECK(y[1].front() == Approx(0.0F).margin(1e-30));
    CHECK(y[1].back() == 1.0F);
    CHECK(y[2].front() == -1.0F);
    CHECK(y[2].back() == 1.0F);
    CHECK(y[2][5] == Approx(1e-3F));
    CHECK(y[3].front() == Approx(0.0F).margin(1e-30));
    CHECK(y[4].back() == 1e4F);
  }
}

TEST_CASE("residual, scaling, soft-cap and copies equal the reference", "[kernels]") {
  for (const uint32_t rows : {1U, 6U}) {
    for (const uint32_t cols : {7U, 600U}) {
      compare(rows, 1e-6, [&](Lab&) -> Program {
        return [rows, cols](Lab& l) {
          Stream& s = l.stream();
          const Mat a = l.input(rows, cols, 1);
          const Mat b = l.input(rows, cols, 2, 0, 20.0F);
          const Mat column = l.input(rows, 1, 3);
          s.add(a, b, 0.75F);
          s.multiply(a, b);
          l.output(a);
          s.multiply(b, column);
          s.scale(b, -0.5F);
          l.output(b);
          s.soft_cap(b, 5.0F);
          l.output(b);
          const Mat part = l.zeros(rows, cols + 3);
          s.copy_columns(part, 2, a, 1, cols - 1);
          l.output(part);
          const Mat rows_wanted = s.alloc(2, cols);
          const std::vector<uint32_t> which = {rows - 1, 0};
          s.gather_rows(rows_wanted, b, which);
          l.output(rows_wanted);
        };
      });
    }
  }
}

TEST_CASE("embeddings and learned positions equal the reference", "[kernels]") {
  for (const TensorType type : kPackedTypes) {
    compare(5, 1e-6, [&](Lab& lab) -> Program {
      const Weight& table = lab.weight(type, 50, 256, 1, WeightUse::kTable);
      return [&](Lab& l) {
        const std::vector<TokenId> ids = {49, 0, 17, 16, 31};
        const Mat y = l.stream().alloc(5, 256);
        l.stream().embed(y, table, ids, 3.0F);
        l.stream().add_positions(y, table, 2);
        l.output(y);
      };
    });
  }
}

TEST_CASE("rope of both kinds equals the reference, whole, partial and with an offset", "[kernels]") {
  for (const RopeKind kind : {RopeKind::kInterleaved, RopeKind::kHalfSplit}) {
    for (const auto& [head_dim, dims, offset] : {std::tuple{64U, 64U, 0U}, std::tuple{80U, 32U, 0U}, std::tuple{24U, 8U, 16U}, std::tuple{6U, 6U, 0U}}) {
      std::vector<float> frequencies;
      for (uint32_t i = 0; i < dims / 2; ++i) frequencies.push_back(std::pow(10000.0F, -2.0F * static_cast<float>(i) / static_cast<float>(dims)));
      const RopeSpec spec{.kind = kind, .dims = dims, .inverse_frequency = frequencies, .magnitude = 1.2F, .offset = offset};
      for (const auto& layout : {layout_of({1}, {1000}), layout_of({70, 1, 30}, {0, 5, 300})}) {
        auto program = [&](Lab& l) {
          const Mat x = l.input(layout.rows, 3 * head_dim, 1);
          l.stream().rope(x, 3, spec);
          l.output(x);
        };
        Lab reference(open_reference());
        const auto want = reference.run(layout, program);
        for (const std::string& variant : usable_variants()) {
          Lab cpu(open_cpu(variant, 2));
          CAPTURE(variant, head_dim, dims, offset);
          CHECK(relative_error(cpu.run(layout, program)[0], want[0]) < 1e-4);  // angles may be float or double products
        }
      }
    }
  }
}

TEST_CASE("a wrong shape becomes the step's error, and the next step works", "[kernels]") {
  for (const std::string& variant : usable_variants()) {
    Lab cpu(open_cpu(variant, 2));
    CHECK_THROWS(cpu.run(2, [](Lab& l) { l.stream().add(l.stream().alloc(2, 4), l.stream().alloc(2, 5), 1.0F); }));
    CHECK(cpu.run(2, [](Lab& l) { l.output(l.input(2, 3, 1)); })[0].size() == 6);
  }
}
