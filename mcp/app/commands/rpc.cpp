// kvasir rpc: plain JSON-RPC 2.0 over stdin and stdout, one message a line or with Content-Length heads.
#include "mcp/app/commands/commands.h"
#include "mcp/app/serving.h"
#include "mcp/app/stdio_command.h"
#include "mcp/app/store_options.h"

namespace kvasir::app {
namespace {

Result<void> run(Context& context) {
  return run_stdio_command(context, mcp::Greeting::Speaks::kJsonRpc, rpc::Framing::kDetect);
}

}  // namespace

Command rpc_command() {
  return {{"rpc", "plain JSON-RPC 2.0 on stdin and stdout", server_options({&kPreload, &kPrivate, &kNoStore}), "",
           false, false,
           "  echo '{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"count_tokens\",\"params\":[\"Hello\"]}' | kvasir rpc"},
          run};
}

}  // namespace kvasir::app
