// The commands, one file each; table.cpp lists them. Each function runs on the main thread and returns when it is done.
#pragma once

#include <vector>

#include "mcp/app/context.h"

namespace kvasir::app {

Command mcp_command();
Command rpc_command();
Command host_command();
Command serve_command();
Command run_command();
Command bench_command();
Command bench_compress_command();
Command score_command();
Command tokenize_command();
Command detokenize_command();
Command template_command();
Command models_ls_command();
Command models_info_command();
/// ls, show, tree, fork, rewind, export, import, verify, gc, rm.
std::vector<Command> sessions_commands();
Command doctor_command();
Command install_command();
Command config_show_command();
Command completion_command();
Command version_command();

}  // namespace kvasir::app
