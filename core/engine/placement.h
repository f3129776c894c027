// Where the layers of a model go: all on the chosen backend, or, where its memory is too small or --gpu-layers says so,
// the first ones on its devices and the rest with the CPU (backends/split). Loader thread.
#pragma once

#include <memory>
#include <string>

#include "backends/offload_plan.h"
#include "core/engine/engine_environment.h"
#include "core/engine/messages.h"

namespace kvasir {

struct PlacedBackend {
  std::unique_ptr<Backend> backend;
  uint32_t gpu_layers = 0;  ///< that lie in memory of a device
  std::string note;         ///< why it is another backend than the chosen one; empty: it is that one
};

/// `opened`: what key.backend names. Errors: kUnavailable (layers wanted on a GPU where there is none), kUnsupported (a
/// model whose layers cannot lie in different places), kTooLarge (what was asked for does not fit), those of opening.
Result<PlacedBackend> place_model(const EngineEnvironment& environment, const EngineKey& key, const ModelDescription& model,
                                  std::unique_ptr<Backend> opened);

/// What each layer takes with its share of the cache. Pure.
OffloadRequest offload_request(const ModelDescription& model, const EngineKey& key);

}  // namespace kvasir
