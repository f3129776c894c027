// The tools of sessions: create, get, list, fork, rewind, checkpoint, restore, delete. Names, arguments and results as
// in interface.md; what they do is in sessions/.
#pragma once

#include <vector>

#include "mcp/tools/tool.h"

namespace kvasir::mcp {

std::vector<Tool> session_tools();
/// What generate_text says of its session, beside `head`.
void add_session_facts(Json& result, const TurnTicket& ticket, bool durable);

}  // namespace kvasir::mcp
