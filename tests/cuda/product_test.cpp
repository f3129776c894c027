// Prompts: more rows than are streamed, by a library of 16-bit products or by our own exact kernel. Run on the emulated
// device here and on the real one by kvasir-gpu-check.
#include <catch2/catch.hpp>

#include "tests/kernels/kernel_lab.h"

using namespace kvasir;
using namespace kvasir::test;

TEST_CASE("a prompt is multiplied right with and without a library of products", "[cuda][models]") {
  Lab reference(open_reference());
  for (const bool library : {true, false}) {
    Lab cuda(open_cpu(library ? "cuda, library" : "cuda", 1));
    for (const TensorType type : {TensorType::kQ4_K, TensorType::kIQ4_XS, TensorType::kF16, TensorType::kBF16, TensorType::kF32}) {
      const auto program = [&](Lab& lab) {
        const Weight& w = lab.weight(type, 34, 256, 3);
        const Weight& bias = lab.vector(std::vector<float>(34, 0.5F));
        return lab.run(66, [&](Lab& l) {
          const Mat x = l.input(66, 256, 5, 0, 400.0F), y = l.input(66, 34, 6);
          const LinearSpec part{.y = y, .weight = &w, .bias = &bias, .accumulate = true, .scale = 0.01F};
          l.stream().linear(std::span(&part, 1), x);
          l.output(y);
        })[0];
      };
      CAPTURE(library, tensor_type_info(type)->name);
      const double bound = !library || type == TensorType::kF32 ? 1e-5 : type == TensorType::kBF16 ? 6e-3 : 1e-3;
      CHECK(relative_error(program(cuda), program(reference)) < bound);
    }
  }
}
