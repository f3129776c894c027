#include <utility>

#include "core/engine/engine_environment.h"
#include "core/engine/engine_pool.h"

namespace kvasir {
namespace {

class SystemEnvironment final : public EngineEnvironment {
 public:
  explicit SystemEnvironment(BackendRegistry registry) : registry_(std::move(registry)) {}
  std::vector<Probe> probes() const override { return registry_.probes(); }
  Result<Probe> select_backend(std::string_view name) const override { return registry_.select(name); }
  Result<std::unique_ptr<Backend>> open_backend(std::string_view name, const BackendOptions& options) const override {
    return registry_.open(name, options);
  }
  Result<ModelDescription> describe(const std::string& path, const ModelOptions& options) const override {
    return describe_model(path, options);
  }
  Result<ModelText> load_text(const std::string& path) const override { return load_model_text(path); }
  Result<std::unique_ptr<Model>> load(const std::string& path, const ModelOptions& options, Backend& backend,
                                      const LoadProgress& progress) const override {
    return Model::load(path, backend, progress, options);
  }
  uint64_t available_memory_bytes() const override { return kvasir::available_memory_bytes(); }

 private:
  BackendRegistry registry_;
};

}  // namespace

std::unique_ptr<EngineEnvironment> make_system_environment(BackendRegistry registry) {
  return std::make_unique<SystemEnvironment>(std::move(registry));
}

std::unique_ptr<Engine> make_engine_pool(BackendRegistry registry, const EngineLimits& limits) {
  return make_engine_pool(make_system_environment(std::move(registry)), limits);
}

}  // namespace kvasir
