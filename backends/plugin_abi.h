// What a backend plugin exports: one C symbol that gives this table. Host and plugin are C++ of one tree, so classes pass
// the border; that both were built from the same headers is checked by `abi`, a hash of these headers and the compiler's
// name, before anything else of the table is used. No exception may cross.
#pragma once

#include <memory>

#include "backends/backend.h"

namespace kvasir {

inline constexpr const char* kPluginSymbol = "kvasir_backend_plugin";
inline constexpr uint32_t kPluginVersion = 1;

struct BackendPlugin {
  // These three stay where they are in every version.
  uint32_t bytes = sizeof(BackendPlugin);
  uint32_t version = kPluginVersion;
  const char* abi = nullptr;  ///< KVASIR_BACKEND_ABI of the plugin's build

  Probe (*probe)() = nullptr;
  Result<std::unique_ptr<Backend>> (*open)(const BackendOptions& options) = nullptr;
};

using PluginEntry = const BackendPlugin* (*)();

}  // namespace kvasir
