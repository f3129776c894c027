// Finds, opens and checks a backend plugin. Folders: $KVASIR_BACKEND_DIR, else <program>/../lib/kvasir; never the working
// folder. A plugin stays loaded. Errors: kUnavailable, with a reason for people. Thread-safe.
#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

#include "backends/plugin_abi.h"

namespace kvasir {

std::vector<std::filesystem::path> plugin_folders();
/// The table of `file` in the first of `folders` that has it.
Result<const BackendPlugin*> load_plugin(std::string_view file, const std::vector<std::filesystem::path>& folders);

}  // namespace kvasir
