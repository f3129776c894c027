// What mcp, rpc and serve share: engine, host and io loop of one process, from the options to the orderly end.
// Main thread, which becomes the io thread in run().
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "mcp/app/context.h"
#include "mcp/host.h"
#include "rpc/net/server.h"

namespace kvasir::app {

extern const OptionSpec kPreload, kPrivate, kNoStore;

class Serving {
 public:
  /// Opens the log file, starts the engine's threads (no model yet). Errors: kInvalidArgument (options).
  static Result<std::unique_ptr<Serving>> create(Context& context);
  ~Serving();

  rpc::Server& server() noexcept { return *server_; }
  mcp::Host& host() noexcept { return *host_; }

  /// The io loop, until the input ends or a signal comes; then everything in flight is cancelled and all threads end,
  /// within 2 s whatever the engine is doing. Errors: kCancelled after SIGINT, kBusy (exit 75) when the session store was
  /// lost: then what runs may end first.
  Result<void> run();

 private:
  explicit Serving(Context& context) : context_(context) {}
  void stop_when_quiet(std::chrono::steady_clock::time_point deadline);

  Context& context_;
  std::string store_lost_;  ///< why, if it is
  std::unique_ptr<mcp::Host> host_;
  std::unique_ptr<rpc::Server> server_;  // destroyed before the host whose services it calls
};

}  // namespace kvasir::app
