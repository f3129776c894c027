#include "backends/registry.h"

#include <algorithm>
#include <string>

#include "backends/plugin_loader.h"

namespace kvasir {
namespace {

constexpr const char* kCudaPlugin = "libkvasir_cuda.so";

Probe probe_cuda() {
  const auto plugin = load_plugin(kCudaPlugin, plugin_folders());
  if (plugin) return (*plugin)->probe();
  Probe probe;
  probe.name = "cuda";
  probe.reason = plugin.error().message;
  return probe;
}

Probe probe_reference() {
  return {"reference", true, 0, "always there; slow, for verification, taken only by name"};
}

bool is_cpu(const Probe& probe) { return probe.name.starts_with("cpu-"); }

/// The usable probe with the highest score among those that `wanted` accepts.
template <class Wanted>
const Probe* best(const std::vector<Probe>& probes, Wanted wanted) {
  const Probe* found = nullptr;
  for (const Probe& probe : probes) {
    if (probe.usable && wanted(probe) && (found == nullptr || probe.score > found->score)) found = &probe;
  }
  return found;
}

}  // namespace

BackendRegistry BackendRegistry::create() {
  BackendRegistry registry;
  registry.probes_ = probe_cpu_backends();
  registry.probes_.push_back(probe_cuda());
  registry.probes_.push_back(probe_reference());
  return registry;
}

Result<Probe> BackendRegistry::select(std::string_view name) const {
  if (name == "auto" || name == "cpu") {
    const Probe* found = best(probes_, [&](const Probe& p) {
      return p.name != "reference" && (name == "auto" || is_cpu(p));
    });
    if (found != nullptr) return *found;
    std::string reasons;
    for (const Probe& p : probes_) {
      if (p.name != "reference") reasons += "; " + p.name + ": " + p.reason;
    }
    return Failure(Code::kUnavailable, "no usable backend here" + reasons);
  }
  std::string known = "auto, cpu";
  for (const Probe& probe : probes_) {
    known += ", " + probe.name;
    if (probe.name != name) continue;
    if (!probe.usable) return Failure(Code::kUnavailable, "backend " + probe.name + " cannot run here: " + probe.reason);
    return probe;
  }
  return Failure(Code::kInvalidArgument, "unknown backend \"" + std::string(name.substr(0, 64)) + "\"; known: " + known);
}

Result<std::unique_ptr<Backend>> BackendRegistry::open(std::string_view name, const BackendOptions& options) const {
  const Probe probe = KVASIR_TRY(select(name));
  if (probe.name == "reference") return make_reference_backend(options);
  if (is_cpu(probe)) return make_cpu_backend(probe.name, options);
  const BackendPlugin* plugin = KVASIR_TRY(load_plugin(kCudaPlugin, plugin_folders()));
  return plugin->open(options);
}

}  // namespace kvasir
