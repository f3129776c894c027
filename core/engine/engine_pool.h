// Engines by EngineKey, behind the one Engine mailbox: loads lazily, reports load progress, unloads idle ones and, when
// memory is short, the least recently used. One inference thread per loaded model plus one side worker (tokenise, render).
// The model belongs to the command, never to the process (decisions.md 2).
#pragma once

#include <memory>

#include "backends/registry.h"
#include "core/base/clock.h"
#include "core/engine/engine.h"

namespace kvasir {

class EngineEnvironment;
class KvBlockStore;

/// `packed_weights`: as of make_system_environment(). The returned engine owns its threads; destroy or shutdown() to stop them.
std::unique_ptr<Engine> make_engine_pool(BackendRegistry registry, const EngineLimits& limits = {},
                                         std::shared_ptr<KvBlockStore> blocks = nullptr, std::string packed_weights = {});
/// The same in a world of the caller's choice (tests): see engine_environment.h.
std::unique_ptr<Engine> make_engine_pool(std::unique_ptr<EngineEnvironment> environment, const EngineLimits& limits = {});

}  // namespace kvasir
