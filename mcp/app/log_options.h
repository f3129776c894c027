// --log-level and --log-format as the log facade wants them. Pure.
#pragma once

#include "core/base/log.h"
#include "mcp/app/options.h"

namespace kvasir::app {

/// `quiet_level` holds where nobody said otherwise. Errors: kInvalidArgument.
Result<log::Options> log_options(const Options& options, log::Level quiet_level);

}  // namespace kvasir::app
