// kvasir mcp: MCP over stdin and stdout, both eras. What assistants start.
#include <unistd.h>

#include "mcp/app/commands/commands.h"
#include "mcp/app/engine_options.h"
#include "mcp/app/serving.h"

namespace kvasir::app {
namespace {

Result<void> run(Context& context) {
  const auto serving = KVASIR_TRY(Serving::create(context));
  serving->server().serve_stdio(STDIN_FILENO, context.console->out_fd(), rpc::Framing::kLines,
                                serving->host().mcp_service());
  return serving->run();
}

}  // namespace

Command mcp_command() {
  return {{"mcp", "MCP server on stdin and stdout", engine_options({&kPreload, &kPrivate, &kNoStore}), "", false, false,
           "  kvasir mcp\n  kvasir mcp --model ~/models/qwen.gguf --preload\n  kvasir install --client claude-desktop  "
           " (plug it in)"},
          run};
}

}  // namespace kvasir::app
