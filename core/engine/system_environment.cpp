#include <utility>

#include "backends/weight_cache.h"
#include "core/engine/engine_environment.h"
#include "core/engine/engine_pool.h"

namespace kvasir {
namespace {

class SystemEnvironment final : public EngineEnvironment {
 public:
  SystemEnvironment(BackendRegistry registry, std::shared_ptr<KvBlockStore> blocks, std::string packed_weights)
      : registry_(std::move(registry)), blocks_(std::move(blocks)), packed_weights_(std::move(packed_weights)) {}
  std::vector<Probe> probes() const override { return registry_.probes(); }
  Result<Probe> select_backend(std::string_view name) const override { return registry_.select(name); }
  Result<std::unique_ptr<Backend>> open_backend(std::string_view name, const BackendOptions& options) const override {
    auto backend = KVASIR_TRY(registry_.open(name, options));
    auto* cache = dynamic_cast<WeightCache*>(backend.get());
    if (cache != nullptr && !packed_weights_.empty()) cache->keep_weights_in(packed_weights_);
    return backend;
  }
  Result<ModelDescription> describe(const std::string& path, const ModelOptions& options) const override {
    return describe_model(path, options);
  }
  Result<ModelText> load_text(const std::string& path) const override { return load_model_text(path); }
  Result<std::unique_ptr<Model>> load(const std::string& path, const ModelOptions& options, Backend& backend,
                                      const LoadProgress& progress) const override {
    return Model::load(path, backend, progress, options);
  }
  KvBlockStore* kv_blocks() const override { return blocks_.get(); }
  uint64_t available_memory_bytes() const override { return kvasir::available_memory_bytes(); }

 private:
  BackendRegistry registry_;
  std::shared_ptr<KvBlockStore> blocks_;
  std::string packed_weights_;
};

}  // namespace

std::unique_ptr<EngineEnvironment> make_system_environment(BackendRegistry registry,
                                                           std::shared_ptr<KvBlockStore> blocks, std::string packed_weights) {
  return std::make_unique<SystemEnvironment>(std::move(registry), std::move(blocks), std::move(packed_weights));
}

std::unique_ptr<Engine> make_engine_pool(BackendRegistry registry, const EngineLimits& limits,
                                         std::shared_ptr<KvBlockStore> blocks, std::string packed_weights) {
  return make_engine_pool(make_system_environment(std::move(registry), std::move(blocks), std::move(packed_weights)), limits);
}

}  // namespace kvasir
