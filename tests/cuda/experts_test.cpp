// Experts that many rows choose: put in order by expert, products on tensor cores or with exact activations. Run on the
// emulated device here and on the real one by kvasir-gpu-check.
#include <catch2/catch.hpp>

#include <cstring>

#include "tests/kernels/kernel_lab.h"

using namespace kvasir;
using namespace kvasir::test;

namespace {

struct Case {
  const char* name;
  TensorType up, down;
  uint32_t experts, top_k;
  std::vector<float> bias;  ///< added to the router's logits
  uint32_t width = 256, hidden = 256;
  bool plain = false, biases = false;
};

std::vector<float> one_favoured(uint32_t experts, uint32_t which, float by) {
  std::vector<float> out(experts, 0.0F);
  out[which] = by;
  return out;
}

const std::vector<Case> kCases = {
    {"evenly", TensorType::kQ4_K, TensorType::kQ6_K, 3, 1, std::vector<float>(3, 0.0F)},
    {"all rows to one", TensorType::kQ4_0, TensorType::kQ8_0, 5, 1, one_favoured(5, 3, 100.0F), 96, 160},
    {"unevenly", TensorType::kQ4_1, TensorType::kQ5_0, 6, 2, one_favoured(6, 0, 2.5F), 320, 96, false, true},
    {"many experts, some without rows", TensorType::kQ5_K, TensorType::kQ4_K, 40, 2, one_favoured(40, 39, 1.0F)},
    {"without gates", TensorType::kQ8_0, TensorType::kQ4_0, 4, 2, std::vector<float>(4, 0.0F), 64, 352, true},
    {"one kind without tiles", TensorType::kQ4_0, TensorType::kMXFP4, 4, 2, std::vector<float>(4, 0.0F), 64, 96},
    {"no tiles", TensorType::kIQ4_NL, TensorType::kF16, 4, 2, std::vector<float>(4, 0.0F), 64, 96},
};

MoeSpec with_weights(Lab& lab, const Case& c) {
  const auto vector = [&](uint32_t n, float value) { return &lab.vector(std::vector<float>(uint64_t{n} * c.experts, value), 0.0F, 1, c.experts); };
  MoeSpec spec{.router = RouterKind::kSoftmaxThenTopK, .experts = c.experts, .top_k = c.top_k, .normalise = true};
  spec.gate_inp = &lab.weight(TensorType::kF32, c.experts, c.width, 1);
  spec.gate_inp_bias = &lab.vector(c.bias);
  spec.up = &lab.weight(c.up, c.hidden, c.width, 2, WeightUse::kMatrix, c.experts);
  spec.down = &lab.weight(c.down, c.width, c.hidden, 3, WeightUse::kMatrix, c.experts);
  if (!c.plain) spec.gate = &lab.weight(c.up, c.hidden, c.width, 4, WeightUse::kMatrix, c.experts);
  if (!c.biases) return spec;
  spec.up_bias = vector(c.hidden, 0.3F);
  spec.gate_bias = vector(c.hidden, -0.2F);
  spec.down_bias = vector(c.width, 0.1F);
  return spec;
}

std::vector<float> run(Lab& lab, const Case& c, const MoeSpec& spec, uint32_t rows, uint32_t first_row = 0) {
  return lab.run(rows, [&](Lab& l) {
    const Mat y = l.input(rows, c.width, 22, first_row);
    l.stream().moe(y, l.input(rows, c.width, 21, first_row), spec);
    l.output(y);
  })[0];
}

std::string library_of(std::string name) {
  return name.insert(name.find(',') == name.npos ? name.size() : name.find(','), ", library");
}

}  // namespace

TEST_CASE("experts of long steps equal the reference, wherever rows go", "[cuda][moe]") {
  const auto variants = usable_variants();
  for (size_t which = 0; which < kCases.size(); ++which) {
    const Case& c = kCases[which];
    const std::string& variant = variants[which % variants.size()];
    Lab reference(open_reference());
    const auto want = run(reference, c, with_weights(reference, c), 150);
    Lab exact(open_cpu(variant, 1)), rounded(open_cpu(library_of(variant), 1));
    CAPTURE(c.name, variant);
    CHECK(relative_error(run(exact, c, with_weights(exact, c), 150), want) < 2e-5);
    const bool rounds = c.up != TensorType::kIQ4_NL;
    const double error = relative_error(run(rounded, c, with_weights(rounded, c), 150), want);
    CAPTURE(error);
    CHECK(error < (rounds ? 2e-2 : 2e-5));
    if (rounds) CHECK(error > 1e-5);  // it was another kernel
  }
}

TEST_CASE("an expert's product has the same bits for a row in any long step", "[cuda][moe][invariance]") {
  for (const Case& c : {kCases[0], kCases[2], kCases[3]}) {
    Lab whole(open_cpu(library_of(usable_variants()[0]), 1)), parts(open_cpu(library_of(usable_variants()[0]), 1));
    const auto want = run(whole, c, with_weights(whole, c), 150);
    const MoeSpec spec = with_weights(parts, c);
    auto got = run(parts, c, spec, 70);
    const auto rest = run(parts, c, spec, 80, 70);
    got.insert(got.end(), rest.begin(), rest.end());
    CAPTURE(c.name);
    REQUIRE(got.size() == want.size());
    CHECK(std::memcmp(got.data(), want.data(), got.size() * sizeof(float)) == 0);
  }
}

TEST_CASE("experts keep a row's bits whether several rows share weights or not", "[cuda][moe][invariance]") {
  for (const Case& c : {kCases[2], kCases[6]}) {
    Lab whole(open_cpu(library_of(usable_variants()[0]), 1)), single(open_cpu(library_of(usable_variants()[0]), 1));
    const auto want = run(whole, c, with_weights(whole, c), 41);
    const MoeSpec spec = with_weights(single, c);
    std::vector<float> got;
    for (uint32_t row = 0; row < 41; ++row) {
      const auto y = run(single, c, spec, 1, row);
      got.insert(got.end(), y.begin(), y.end());
    }
    CAPTURE(c.name);
    CHECK(std::memcmp(got.data(), want.data(), got.size() * sizeof(float)) == 0);
  }
}
