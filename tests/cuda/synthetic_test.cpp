// Whole tokens with the default, 8-bit activations: the emulated GPU against the reference within what rounding explains,
// and a sequence's bits whatever shares its step.
#include <catch2/catch.hpp>

#include <cstring>

#include "tests/cuda/emulated_lab.h"
#include "tests/cuda/gpu_check/synthetic.h"

using namespace kvasir;
using namespace kvasir::test;

namespace {
constexpr SyntheticShape kShape{"tiny", 256, 2, 8, 2, 32, 512, 70};
}

TEST_CASE("whole tokens of every recipe stay near the reference", "[cuda][models]") {
  for (const Recipe recipe : {Recipe::kF16, Recipe::kQ8_0, Recipe::kQ4_K_M, Recipe::kQ4_0}) {
    const auto reference = open_reference();
    const auto emulated = open_emulated();
    SyntheticModel want(*reference, kShape, recipe, 2, 128), got(*emulated, kShape, recipe, 2, 128);
    CAPTURE(recipe_name(recipe));
    uint32_t position = 0;
    for (const uint32_t rows : {4U, 1U, 1U, recipe == Recipe::kQ4_0 ? 33U : 2U}) {  // streamed by one and by eight, once by a library
      want.step(2, rows, position);
      got.step(2, rows, position);
      CHECK(relative_error(got.logits(), want.logits()) < (recipe == Recipe::kF16 ? 1e-3 : 3e-2));
      position += rows;
    }
  }
}

TEST_CASE("a sequence's logits have the same bits alone and beside others, while products are streamed", "[cuda][invariance]") {
  const auto one = open_emulated(), two = open_emulated();
  SyntheticModel alone(*one, kShape, Recipe::kQ4_K_M, 4, 64), together(*two, kShape, Recipe::kQ4_K_M, 4, 64);
  for (uint32_t position = 0; position < 3; ++position) {
    alone.step(1, 1, position);
    together.step(1 + position, 1, position);  // token ids of the first sequence are the same in both
    CHECK(std::memcmp(alone.logits().data(), together.logits().data(), alone.logits().size() * sizeof(float)) == 0);
  }
}
