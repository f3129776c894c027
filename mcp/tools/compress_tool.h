// compress_session: a session's context made shorter, with what it cost measured before it is taken (compression.md).
#pragma once

#include "mcp/tools/tool.h"

namespace kvasir::mcp {

Tool compress_session_tool();

}  // namespace kvasir::mcp
