#include "mcp/app/paths.h"

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

namespace kvasir::app {
namespace fs = std::filesystem;
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// A relative value of an XDG variable is to be ignored (XDG base directory specification).
Result<std::string> xdg_dir(const char* name, const char* below_home) {
  if (const std::string value = variable(name); value.starts_with('/')) return value + "/kvasir";
  return KVASIR_TRY(home_dir()) + below_home + "/kvasir";
}

std::string expanded(const std::string& path) {
  if (path == "~" || path.starts_with("~/")) {
    if (auto home = home_dir()) return *home + path.substr(1);
  }
  return path;
}

}  // namespace

Result<std::string> home_dir() {
  if (std::string home = variable("HOME"); home.starts_with('/')) return home;
  const passwd* entry = getpwuid(getuid());  // before any thread is started
  if (entry == nullptr || entry->pw_dir == nullptr || entry->pw_dir[0] != '/') {
    return Failure{Code::kUnavailable, "this user has no home folder: set HOME, or give --data-dir"};
  }
  return std::string(entry->pw_dir);
}

Result<std::string> default_config_file() {
  return KVASIR_TRY(xdg_dir("XDG_CONFIG_HOME", "/.config")) + "/config.toml";
}

Result<Paths> resolve_paths(const std::string& data_dir) {
  Paths paths;
  std::error_code ec;
  if (data_dir.empty()) {
    paths.data_dir = KVASIR_TRY(xdg_dir("XDG_DATA_HOME", "/.local/share"));
  } else {
    paths.data_dir = fs::absolute(expanded(data_dir), ec).lexically_normal().string();
    if (ec) return Failure{Code::kIo, "the working folder does not exist any more: give an absolute --data-dir"};
  }
  while (paths.data_dir.size() > 1 && paths.data_dir.ends_with('/')) paths.data_dir.pop_back();
  paths.models_dir = paths.data_dir + "/models";
  paths.log_file = paths.data_dir + "/log/kvasir.log";
  // Without a home folder but with --data-dir everything else still works: the cache then lies beside the data.
  auto cache = xdg_dir("XDG_CACHE_HOME", "/.cache");
  paths.cache_dir = cache ? *cache : paths.data_dir + "/cache";
  paths.program = fs::read_symlink("/proc/self/exe", ec).string();
  return paths;
}

Result<void> make_private_dir(const std::string& path) {
  std::error_code ec;
  if (fs::is_directory(path, ec)) return {};
  if (const fs::path parent = fs::path(path).parent_path(); !parent.empty() && parent != path) {
    KVASIR_TRY(make_private_dir(parent.string()));
  }
  if (mkdir(path.c_str(), S_IRWXU) != 0 && !fs::is_directory(path, ec)) {
    return Failure{Code::kIo, "cannot make the folder " + path};
  }
  return {};
}

}  // namespace kvasir::app
