// Mixture of experts on every CPU variant: all routers against the reference, and rows that do not depend on each other.
#include <catch2/catch.hpp>

#include "tests/kernels/kernel_lab.h"

using namespace kvasir;
using namespace kvasir::test;

namespace {

struct MoeCase {
  const char* name;
  MoeSpec spec;
  TensorType type = TensorType::kF32;
  bool select_bias = false, gate_bias = false, plain = false;
};

constexpr uint32_t kWidth = 64, kHidden = 96;

std::vector<float> noise_values(uint64_t n, uint64_t seed) {
  Noise noise(seed);
  std::vector<float> out(n);
  for (float& v : out) v = 0.2F * noise.normal();
  return out;
}

MoeSpec with_weights(Lab& lab, const MoeCase& c) {
  MoeSpec spec = c.spec;
  const uint32_t e = spec.experts;
  const bool long_blocks = tensor_type_info(c.type)->block_values > 32;
  const uint32_t width = long_blocks ? 256 : kWidth;
  const uint32_t hidden = long_blocks ? 256 : kHidden;
  spec.gate_inp = &lab.weight(TensorType::kF32, e, width, 1);
  spec.up = &lab.weight(c.type, hidden, width, 2, WeightUse::kMatrix, e);
  spec.down = &lab.weight(c.type, width, hidden, 3, WeightUse::kMatrix, e);
  if (!c.plain) spec.gate = &lab.weight(c.type, hidden, width, 4, WeightUse::kMatrix, e);
  if (c.select_bias) spec.select_bias = &lab.vector(noise_values(e, 5));
  if (c.gate_bias) {
    spec.gate_inp_bias = &lab.vector(noise_values(e, 6));
    spec.gate_bias = &lab.vector(noise_values(e * hidden, 7), 0.0F, 1, e);
    spec.up_bias = &lab.vector(noise_values(e * hidden, 8), 0.0F, 1, e);
    spec.down_bias = &lab.vector(noise_values(e * width, 9), 0.0F, 1, e);
  }
  return spec;
}

std::vector<float> run_moe(Lab& lab, const MoeSpec& spec, uint32_t rows, uint32_t first_row = 0) {
  const auto width = static_cast<uint32_t>(spec.up->cols());
  return lab.run(rows, [&](Lab& l) {
    const Mat x = l.input(rows, width, 21, first_row, 3.0F);
    const Mat y = l.input(rows, width, 22, first_row);
    l.stream().moe(y, x, spec);
    l.output(y);
  })[0];
}

const std::vector<MoeCase> kMoeCases = {
    {"mixtral", {.router = RouterKind::kSoftmaxThenTopK, .experts = 4, .top_k = 2, .normalise = true}},
    {"qwen2", {.router = RouterKind::kSoftmaxThenTopK, .experts = 6, .top_k = 2}},
    {"gpt-oss", {.router = RouterKind::kTopKThenSoftmax, .experts = 5, .top_k = 3, .activation = Activation::kSwigluOai}, TensorType::kF32, false, true},
    {"deepseek3", {.router = RouterKind::kSigmoid, .experts = 8, .top_k = 3, .expert_groups = 4, .top_groups = 2, .normalise = true, .weight_scale = 2.5F}, TensorType::kF16, true},
    {"deepseek2", {.router = RouterKind::kSoftmaxThenTopK, .experts = 8, .top_k = 2, .expert_groups = 4, .top_groups = 2}},
    {"plain experts", {.router = RouterKind::kSoftmaxThenTopK, .experts = 4, .top_k = 1, .activation = Activation::kGeluErf}, TensorType::kBF16, false, false, true},
};

}  // namespace

TEST_CASE("mixture of experts equals the reference for every router", "[kernels]") {
  for (const MoeCase& c : kMoeCases) {
    Lab reference(open_reference());
    const MoeSpec reference_spec = with_weights(reference, c);
    for (const std::string& variant : usable_variants()) {
      Lab cpu(open_cpu(variant, 3));
      const MoeSpec spec = with_weights(cpu, c);
      for (const uint32_t rows : {1U, 29U}) {
        CAPTURE(c.name, variant, rows);
        const bool rounds = variant == "cpu-avx512-bf16" && c.type == TensorType::kBF16;  // activations, to bf16
        CHECK(relative_error(run_moe(cpu, spec, rows), run_moe(reference, reference_spec, rows)) < (rounds ? 5e-3 : 2e-5));
      }
    }
  }
}

TEST_CASE("experts of every quantised type differ from the reference by no more than 8-bit activations explain", "[kernels]") {
  for (const TensorType type : kPackedTypes) {
    if (tensor_type_info(type)->block_values == 1) continue;
    const MoeCase c{"quantised", {.router = RouterKind::kSoftmaxThenTopK, .experts = 5, .top_k = 2, .normalise = true}, type};
    Lab reference(open_reference());
    const auto want = run_moe(reference, with_weights(reference, c), 17);
    for (const std::string& variant : usable_variants()) {
      CAPTURE(variant, tensor_type_info(type)->name);
      Lab exact(open_cpu(variant, 2, Activations::kF32));
      CHECK(relative_error(run_moe(exact, with_weights(exact, c), 17), want) < 2e-5);
      Lab fast(open_cpu(variant, 2));
      CHECK(relative_error(run_moe(fast, with_weights(fast, c), 17), want) < 3e-2);
    }
  }
}

TEST_CASE("mixture of experts gives a row the same bits alone and in a batch", "[kernels][invariance]") {
  const MoeCase c{"quantised", {.router = RouterKind::kSoftmaxThenTopK, .experts = 5, .top_k = 2, .normalise = true}, TensorType::kQ4_K};
  for (const std::string& variant : usable_variants()) {
    Lab one(open_cpu(variant, 1));
    const MoeSpec one_spec = with_weights(one, c);
    std::vector<float> want;
    for (uint32_t row = 0; row < 33; ++row) {
      const auto y = run_moe(one, one_spec, 1, row);
      want.insert(want.end(), y.begin(), y.end());
    }
    Lab many(open_cpu(variant, 3));
    const MoeSpec many_spec = with_weights(many, c);
    CAPTURE(variant);
    CHECK(run_moe(many, many_spec, 33) == want);
  }
}
