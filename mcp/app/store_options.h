// The options that say what is kept of sessions and how often, shared by all commands that serve.
#pragma once

#include <string>
#include <vector>

#include "mcp/app/context.h"
#include "sessions/kv_block_files.h"
#include "sessions/session_types.h"

namespace kvasir::app {

struct StoreSettings {
  uint32_t autosave_tokens = 0;
  SessionLimits sessions;
  KvBlockLimits blocks;
};

/// Options of a server: serving_options() and those of the store, then `more`.
std::vector<const OptionSpec*> server_options(std::vector<const OptionSpec*> more);
/// Errors: kInvalidArgument with what is allowed.
Result<StoreSettings> store_settings(const Options& options);
/// The quotas alone, for commands that only show them.
std::vector<const OptionSpec*> quota_options();
Result<StoreSettings> quota_settings(const Options& options);
/// What was given of them as flags, for the command line of a host that a front end starts.
void append_store_flags(const Options& options, std::vector<std::string>& command);

}  // namespace kvasir::app
