#include <stdexcept>

#include "backends/registry.h"
#include "tests/kernels/kernel_lab.h"

namespace kvasir::test {

std::unique_ptr<Backend> open_cpu(std::string_view name, uint32_t threads, Activations activations) {
  auto backend = make_cpu_backend(name, {.threads = threads, .activations = activations});
  if (!backend) throw std::runtime_error(backend.error().message);
  return *std::move(backend);
}

}  // namespace kvasir::test
