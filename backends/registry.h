// Which backends exist here, which of them can run, and which one is taken. An explicit list (no static registration).
// A forced backend that cannot run is an error, never a fallback; an automatic choice carries its reason.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "backends/backend.h"

namespace kvasir {

/// Makes backends by name. `probes()` never fails and never loads a model; it may dlopen drivers.
class BackendRegistry {
 public:
  /// Probes every backend of this build: the CPU variants best first, then cuda (plugin), then reference.
  static BackendRegistry create();
  const std::vector<Probe>& probes() const noexcept { return probes_; }
  /// `name`: "auto", "cpu" (best CPU variant), or a name of probes(). Errors: kInvalidArgument (unknown name, lists the
  /// known), kUnavailable (known but cannot run here: the probe's reason).
  Result<std::unique_ptr<Backend>> open(std::string_view name, const BackendOptions& options) const;
  /// The probe that open(name) would take, without opening it.
  Result<Probe> select(std::string_view name) const;

 private:
  std::vector<Probe> probes_;
};

/// backends/reference: naive loops, sums in double; the oracle and the documentation of each op.
std::unique_ptr<Backend> make_reference_backend(const BackendOptions& options);

/// backends/cpu: every variant compiled in, best first, with whether CPUID and XGETBV allow it.
std::vector<Probe> probe_cpu_backends();
/// `name` is a usable name of probe_cpu_backends().
Result<std::unique_ptr<Backend>> make_cpu_backend(std::string_view name, const BackendOptions& options);

}  // namespace kvasir
