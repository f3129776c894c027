// The world as an engine sees it: files, backends, memory. One implementation talks to the real one; tests bring fakes.
// Thread-safe: loader threads, side workers and the pool use it at the same time.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "backends/backend.h"
#include "backends/registry.h"
#include "core/engine/kv_block_store.h"
#include "core/model/model.h"

namespace kvasir {

class EngineEnvironment {
 public:
  virtual ~EngineEnvironment() = default;
  virtual std::vector<Probe> probes() const = 0;
  virtual Result<Probe> select_backend(std::string_view name) const = 0;
  virtual Result<std::unique_ptr<Backend>> open_backend(std::string_view name, const BackendOptions& options) const = 0;
  virtual Result<ModelDescription> describe(const std::string& path, const ModelOptions& options) const = 0;
  virtual Result<ModelText> load_text(const std::string& path) const = 0;
  virtual Result<std::unique_ptr<Model>> load(const std::string& path, const ModelOptions& options, Backend& backend,
                                              const LoadProgress& progress) const = 0;
  /// Where pages of sessions outlive this process; null: nowhere.
  virtual KvBlockStore* kv_blocks() const { return nullptr; }
  /// Memory that can be taken without swapping: MemAvailable, or what the control group leaves if that is less.
  virtual uint64_t available_memory_bytes() const = 0;
};

/// The real files, backends and /proc. `packed_weights`: folder where packed weights are kept; empty: they are not.
std::unique_ptr<EngineEnvironment> make_system_environment(BackendRegistry registry,
                                                           std::shared_ptr<KvBlockStore> blocks = nullptr, std::string packed_weights = {});

/// Resident memory of this process; 0 where /proc is absent.
uint64_t resident_memory_bytes();
/// MemAvailable of /proc/meminfo, lowered to what the cgroup (v2) of this process still allows.
uint64_t available_memory_bytes();

}  // namespace kvasir
