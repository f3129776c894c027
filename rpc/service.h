// What a protocol does with calls, whatever the transport: the seam between rpc (framing, parsing, in-flight table,
// batches, cancellation) and the protocols on top (plain JSON-RPC through Router, MCP through mcp/server).
// All on the io thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/unique_function.h"
#include "rpc/message.h"

namespace kvasir::rpc {

using HttpHeaders = std::multimap<std::string, std::string, std::less<>>;  ///< names in lower case, values trimmed

enum class Transport : uint8_t { kStdio, kWebSocket, kHttp };

/// Per-connection (stdio, WebSocket) or per-MCP-session (HTTP) state that a Service may hang its own data on.
struct ConnectionState {
  virtual ~ConnectionState() = default;
};

/// Facts about where a call came from. Borrowed for the duration of Service::call only; copy what must last.
struct CallInfo {
  Transport transport = Transport::kStdio;
  bool cancel_by_disconnect = true;   ///< the transport's stream closing cancels the call
  std::string principal;              ///< "local" on stdio and tokenless loopback; else a hash of the token
  const HttpHeaders* headers = nullptr;  ///< HTTP only
  ConnectionState* connection = nullptr;
  const Json* greeting = nullptr;        ///< what a local front end said of itself and its options, else null
  bool in_batch = false;
};

enum class CancelCause : uint8_t { kRequested, kDisconnected, kShutdown };

/// Where the answer to one call goes. Move-only; exactly one of result() or error(). Destroyed unanswered: -32603 and an
/// error line in the log (a bug). After cancellation the answer is dropped or sent as the protocol wants.
class Responder {
 public:
  /// What a transport implements.
  class Sink {
   public:
    virtual ~Sink() = default;
    virtual void result(const Json& value) = 0;
    virtual void error(const RpcError& error, int http_status) = 0;
    virtual void notify(std::string_view method, const Json& params) = 0;
    virtual void drop() = 0;  ///< answered by silence (MCP after a cancel)
    virtual bool congested() const = 0;
    virtual void set_on_cancel(UniqueFunction<void(CancelCause)> fn) = 0;
    virtual void set_on_drained(UniqueFunction<void()> fn) = 0;
  };

  Responder() = default;
  explicit Responder(std::shared_ptr<Sink> sink) : sink_(std::move(sink)) {}
  Responder(Responder&&) noexcept = default;
  Responder& operator=(Responder&&) noexcept;
  ~Responder();

  void result(const Json& value);
  /// `http_status`: for HTTP when nothing was streamed yet (protocol.md §5); ignored elsewhere.
  void error(const RpcError& error, int http_status = 200);
  /// A notification on the stream of this call, before its answer.
  void notify(std::string_view method, const Json& params);
  /// Ends the call without an answer: only for a cancelled MCP request.
  void drop();
  /// More than the soft limit waits to be written: pause the producer, go on at on_drained.
  bool congested() const;
  /// Called at most once, on the io thread, when the caller cancels or goes away. The responder must still be answered
  /// or dropped.
  void on_cancel(UniqueFunction<void(CancelCause)> fn);
  void on_drained(UniqueFunction<void()> fn);
  explicit operator bool() const noexcept { return sink_ != nullptr; }

 private:
  std::shared_ptr<Sink> sink_;
};

/// A protocol. One object serves all connections; lives as long as the io loop.
class Service {
 public:
  virtual ~Service() = default;
  /// Rules of message shape that differ between protocols.
  struct Rules {
    bool mcp_ids = false;            ///< id must be string or integer within 2^53, never null; unknown ids are omitted
    bool answer_cancelled = true;    ///< plain: a cancelled call gets its reply; MCP: nothing
    bool dollar_cancel = true;       ///< `$/cancelRequest {id}` is understood beside `notifications/cancelled {requestId}`
  };
  virtual Rules rules() const = 0;
  /// A new stdio or WebSocket connection, or nullptr if none is needed.
  virtual std::unique_ptr<ConnectionState> connect(const CallInfo& info) = 0;
  virtual void call(Request request, const CallInfo& info, Responder responder) = 0;
  /// A notification other than the cancel ones (those are handled below the service).
  virtual void notification(Request request, const CallInfo& info) = 0;
  /// May this array be a batch? Elements are parsed JSON, not yet checked.
  virtual bool accepts_batch(const Json& array, const CallInfo& info) = 0;
};

}  // namespace kvasir::rpc
