// What kvasir mcp and kvasir rpc have in common: a front end of the user's host, or with --private (or where no host
// can be had, which is said) everything in this process. Main thread.
#pragma once

#include "mcp/app/context.h"
#include "mcp/greeting.h"
#include "rpc/net/server.h"

namespace kvasir::app {

Result<void> run_stdio_command(Context& context, mcp::Greeting::Speaks speaks, rpc::Framing framing);

}  // namespace kvasir::app
