// Lets the tests of ops (tests/kernels) run on the CUDA backend over the emulated device, with threads taking their turns
// in two orders: a missing barrier shows as other bits or as a wait for threads that never come.
#include "backends/registry.h"
#include "tests/cuda/emulated_lab.h"
#include "tests/model/runner.h"

namespace kvasir::test {

std::vector<std::string> usable_variants() { return {"cuda, threads forward", "cuda, threads shuffled"}; }

std::unique_ptr<Backend> open_cpu(std::string_view name, uint32_t, Activations activations) {
  using Order = cuda::emulation::Order;
  // The library rounds to 16 bits: the exact tests are not for it (product_test.cpp is).
  const auto prompts = name.find("library") != name.npos ? cuda::Prompts::kHalf : cuda::Prompts::kExact;
  return open_emulated(activations, {.order = name.ends_with("forward") ? Order::kForward : Order::kShuffled}, cuda::GraphRunner::Mode::kGraphs, prompts);
}

std::vector<std::string> usable_cpu_backends() { return {"cuda, emulated"}; }

std::unique_ptr<Backend> open_backend(const std::string& name, const BackendOptions& options) {
  return name == "reference" ? make_reference_backend(options) : open_emulated(options.activations);
}

}  // namespace kvasir::test
