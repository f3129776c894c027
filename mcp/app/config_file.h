// The user's config.toml as raw values. Owner: main; read once at start.
#pragma once

#include <string>
#include <vector>

#include "mcp/app/options.h"

namespace kvasir::app {

/// Keys are option names with underscores, at the top or in a table named like the command ([serve] port = 9000 wins
/// over port at the top). A file that does not exist gives nothing, unless `required`.
/// Errors: kNotFound, kIo, kInvalidArgument (TOML syntax with its line; a key that no option has, with the nearest
/// one).
Result<RawValues> read_config_file(const std::string& path, bool required, std::string_view command,
                                   const std::vector<const OptionSpec*>& specs,
                                   const std::vector<const OptionSpec*>& all_known,
                                   const std::vector<std::string>& tables);

}  // namespace kvasir::app
