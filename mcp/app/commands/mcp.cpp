// kvasir mcp: MCP over stdin and stdout, both eras. What assistants start.
#include "mcp/app/commands/commands.h"
#include "mcp/app/serving.h"
#include "mcp/app/stdio_command.h"
#include "mcp/app/store_options.h"

namespace kvasir::app {
namespace {

Result<void> run(Context& context) {
  return run_stdio_command(context, mcp::Greeting::Speaks::kMcp, rpc::Framing::kLines);
}

}  // namespace

Command mcp_command() {
  return {{"mcp", "MCP server on stdin and stdout", server_options({&kPreload, &kPrivate, &kNoStore}), "", false, false,
           "  kvasir mcp\n  kvasir mcp --model ~/models/qwen.gguf --preload\n  kvasir install --client claude-desktop  "
           " (plug it in)"},
          run};
}

}  // namespace kvasir::app
