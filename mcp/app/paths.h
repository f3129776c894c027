// Where things lie on this machine (decisions.md 3). Absolute, so that a client that starts the program elsewhere and
// without XDG variables still finds the same files. Plain value.
#pragma once

#include <string>

#include "core/base/result.h"

namespace kvasir::app {

struct Paths {
  std::string data_dir;    ///< sessions, models, log
  std::string models_dir;  ///< <data>/models
  std::string log_file;    ///< <data>/log/kvasir.log
  std::string cache_dir;   ///< only what can be made again
  std::string program;     ///< this executable
};

/// $HOME, else the password database. Errors: kUnavailable.
Result<std::string> home_dir();
/// `$XDG_CONFIG_HOME/kvasir/config.toml`, else below ~/.config.
Result<std::string> default_config_file();
/// `data_dir`: as set by flag, variable or config file, or empty for the default.
Result<Paths> resolve_paths(const std::string& data_dir);
/// Makes the folder with its parents, private to the user. Errors: kIo.
Result<void> make_private_dir(const std::string& path);

}  // namespace kvasir::app
