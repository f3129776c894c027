#include "backends/plugin_loader.h"

#include <cstdlib>
#include <string>

#include "backends/shared_library.h"

namespace kvasir {

std::vector<std::filesystem::path> plugin_folders() {
  if (const char* dir = std::getenv("KVASIR_BACKEND_DIR"); dir != nullptr && *dir != '\0') return {dir};
  std::error_code ec;
  const auto exe = std::filesystem::read_symlink("/proc/self/exe", ec);
  if (ec) return {};
  return {(exe.parent_path() / "../lib/kvasir").lexically_normal()};
}

Result<const BackendPlugin*> load_plugin(std::string_view file, const std::vector<std::filesystem::path>& folders) {
  std::string looked;
  for (const auto& folder : folders) {
    const auto path = (folder / file).string();
    std::error_code ec;
    if (!std::filesystem::exists(path, ec)) {
      looked += (looked.empty() ? "" : ", ") + folder.string();
      continue;
    }
    const auto library = SharedLibrary::open(path);
    if (!library) return Failure{Code::kUnavailable, "plugin " + path + " cannot be loaded: " + library.error().message};
    const auto entry = reinterpret_cast<PluginEntry>(library->symbol(kPluginSymbol));
    if (entry == nullptr) return Failure{Code::kUnavailable, path + " is no plugin of Kvasir: it lacks the symbol " + kPluginSymbol};
    const BackendPlugin* plugin = entry();
    if (plugin == nullptr || plugin->version != kPluginVersion || plugin->bytes != sizeof(BackendPlugin) || plugin->abi == nullptr ||
        std::string_view(plugin->abi) != KVASIR_BACKEND_ABI) {
      return Failure{Code::kUnavailable, "plugin " + path + " was built from another version of Kvasir; build both together (./x build --cuda)"};
    }
    return plugin;
  }
  return Failure{Code::kUnavailable, "plugin not installed: " + std::string(file) + " is not in " + (looked.empty() ? "any known folder" : looked) +
                                         " (./x build --cuda makes it where nvcc is)"};
}

}  // namespace kvasir
