#include "backends/registry.h"
#include "tests/kernels/kernel_lab.h"
#include "tests/support/data.h"

namespace kvasir::test {

std::vector<std::string> usable_variants() {
  std::vector<std::string> out;
  for (const Probe& probe : probe_cpu_backends()) {
    if (probe.usable) out.push_back(probe.name);
    else report_skip(probe.name + ": " + probe.reason);
  }
  return out;
}

}  // namespace kvasir::test
