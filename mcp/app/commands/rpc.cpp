// kvasir rpc: plain JSON-RPC 2.0 over stdin and stdout, one message a line or with Content-Length heads.
#include <unistd.h>

#include "mcp/app/commands/commands.h"
#include "mcp/app/engine_options.h"
#include "mcp/app/serving.h"

namespace kvasir::app {
namespace {

Result<void> run(Context& context) {
  const auto serving = KVASIR_TRY(Serving::create(context));
  serving->server().serve_stdio(STDIN_FILENO, context.console->out_fd(), rpc::Framing::kDetect,
                                serving->host().json_rpc_service());
  return serving->run();
}

}  // namespace

Command rpc_command() {
  return {{"rpc", "plain JSON-RPC 2.0 on stdin and stdout", engine_options({&kPreload, &kPrivate, &kNoStore}), "",
           false, false,
           "  echo '{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"count_tokens\",\"params\":[\"Hello\"]}' | kvasir rpc"},
          run};
}

}  // namespace kvasir::app
