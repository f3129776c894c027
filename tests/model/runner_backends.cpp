#include <stdexcept>

#include "backends/registry.h"
#include "tests/model/runner.h"

namespace kvasir::test {

std::unique_ptr<Backend> open_backend(const std::string& name, const BackendOptions& options) {
  auto backend = BackendRegistry::create().open(name, options);
  if (!backend) throw std::runtime_error(backend.error().message);
  return *std::move(backend);
}

std::vector<std::string> usable_cpu_backends() {
  std::vector<std::string> names;
  const auto registry = BackendRegistry::create();
  for (const Probe& probe : registry.probes()) {
    if (probe.usable && probe.name.starts_with("cpu")) names.push_back(probe.name);
  }
  return names;
}

}  // namespace kvasir::test
