// The one listener (HTTP, SSE, WebSocket on one port), the stdio connection and the socket of local front ends, on one io
// thread that the caller runs.
// Knows Services, not models. run() is the io loop; everything but post() and stop() belongs to it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/base/unique_function.h"
#include "rpc/limits.h"
#include "rpc/net/http.h"
#include "rpc/service.h"

namespace kvasir::rpc {

struct ListenOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 8080;                     ///< 0: pick one
  std::string token;                        ///< bearer token; required off loopback (checked by the caller and here)
  std::vector<std::string> allowed_origins; ///< besides loopback ones; also turns CORS on for them
  std::vector<std::string> allowed_hosts;   ///< Host values besides loopback names and `host`
};

/// Framing of a stdio connection.
enum class Framing : uint8_t { kLines, kDetect /* newline or LSP Content-Length, told apart by the first bytes */ };

/// What a local front end is told after its greeting, and who serves it from then on.
struct LocalWelcome {
  Service* service = nullptr;  ///< null: refused, the connection ends after `reply`
  Json reply;
};
/// `greeting` is checked JSON of whatever content. io thread.
using LocalGate = std::function<LocalWelcome(const Json& greeting)>;

class Server {
 public:
  virtual ~Server() = default;
  static std::unique_ptr<Server> create(const Limits& limits);

  // Before run(), or on the io thread.
  virtual void route(std::string path, HttpHandler handler) = 0;                   ///< all methods of that path
  virtual void route_rpc_post(std::string path, Service& service) = 0;             ///< plain JSON-RPC by POST (SSE if stream:true)
  /// WebSocket upgrades at `path` talk to `service`; `subprotocol` is echoed when offered ("" : none wanted).
  virtual void route_websocket(std::string path, std::string subprotocol, Service& service) = 0;
  /// Binds and listens. Errors: kIo (address in use, ...), kInvalidArgument (off loopback without a token).
  /// Returns the port.
  virtual Result<uint16_t> listen(const ListenOptions& options) = 0;
  /// Serves one connection on file descriptors (stdin may be a file or /dev/null: a blocking reader thread with a
  /// length cap is used). End of input cancels what is in flight and stops the loop.
  virtual void serve_stdio(int in_fd, int out_fd, Framing framing, Service& service) = 0;

  /// Serves the front ends of this user (others are turned away by uid) on a listening UNIX socket, which it takes over.
  /// Messages both ways are framed by Content-Length; the first ones are greeting and reply.
  virtual void serve_local(int listening_fd, LocalGate gate) = 0;
  /// Front ends connected now. io thread.
  virtual size_t local_connections() const = 0;

  virtual void post(UniqueFunction<void()> task) = 0;  ///< from any thread: run on the io thread
  virtual void after(std::chrono::milliseconds delay, UniqueFunction<void()> task) = 0;
  virtual void run() = 0;                              ///< until stop() or the end of stdin
  virtual void stop() = 0;                             ///< thread-safe: stop accepting, cancel or drain shortly, return from run()
  /// Counters for /metrics and tests: open connections, in-flight calls, bytes queued.
  struct Stats { uint64_t connections = 0, in_flight = 0, outbox_bytes = 0, requests = 0, refused = 0; };
  virtual Stats stats() const = 0;
};

}  // namespace kvasir::rpc
