// The host: engine, tools and both protocols put together, ready to be attached to a network server. Owned by whoever
// runs the io loop (mcp/app, tests); everything but the constructor belongs to the io thread. Never opens a model: the
// handshake and the list of tools answer at once, the first call that needs the model loads it.
//
//   Host host(make_engine_pool(...), options);
//   auto server = rpc::Server::create(limits);
//   host.attach(*server);                                    // before listen() or serve_stdio()
//   server->serve_stdio(0, out_fd, rpc::Framing::kLines, host.mcp_service());   // or: server->listen(...)
//   server->run();
//   host.shutdown();                                         // then both may be destroyed, in any order
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "core/base/clock.h"
#include "core/base/result.h"
#include "core/engine/engine.h"
#include "rpc/limits.h"
#include "rpc/net/server.h"
#include "rpc/service.h"
#include "sessions/session_service.h"

namespace kvasir::mcp {

struct HostOptions {
  /// What a connection gets that does not bring its own. `default_engine.model` is the name as the user gave it (path,
  /// folder, name in the models folder, or "" for the default model).
  EngineKey default_engine;
  /// Name to path; called at the first use of a name, on the io thread: it may stat, never open. Its error is what the
  /// caller of a tool reads, so it says how to get the model. Absent: the name is the path.
  std::function<Result<std::string>(const std::string& name)> resolve_model;
  /// Opens the store of conversations, on its own thread, when it is first needed. Absent: kept in memory only.
  OpenStore open_sessions;
  std::shared_ptr<KvBlockFiles> kv_blocks;               ///< the engine's, so that a deleted session's pages go too
  bool durable_sessions = false;                         ///< what open_sessions gives reaches a disk
  /// The store failed for good (a failed fsync): answers say that they are not durable, /readyz says why, and whoever
  /// runs the process ends it soon, since only another one can open the store again. io thread, once.
  std::function<void(const std::string& reason)> on_store_lost;
  const Clock* clock = nullptr;                          ///< borrowed; tests move time, else SteadyClock
  std::string version = "0.1.0";                         ///< of the product: serverInfo, /health
  rpc::Limits limits;                                    ///< the same ones as the server's
  size_t max_http_sessions = 1024;                       ///< legacy MCP over HTTP
  std::chrono::seconds http_session_ttl{12 * 3600};      ///< without a request
  std::chrono::milliseconds untimed_call_limit{50'000};  ///< MCP call without progressToken and max_time_ms
  uint32_t autosave_tokens = 256;                        ///< of a session's answer, between saves of what there is; 0: none
  std::chrono::milliseconds congested_limit{30'000};     ///< a reader slower than this loses its generation
};

class Host {
 public:
  Host(std::unique_ptr<Engine> engine, HostOptions options);
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  /// Routes /mcp (POST, GET, DELETE, WebSocket), /ws, /rpc (POST, WebSocket), /livez /readyz /health /metrics on
  /// `server` and wakes it when the engine has news. Once, before the server runs.
  void attach(rpc::Server& server);

  /// For Server::serve_stdio: MCP of both eras, and plain JSON-RPC.
  rpc::Service& mcp_service();
  rpc::Service& json_rpc_service();

  /// Loads a model now (--preload). `done` runs on the io thread. Call after attach().
  void preload(EngineKey engine, std::function<void(Result<void>)> done);

  /// Calls that the engine has not answered. io thread.
  size_t pending_calls() const;

  /// Answers what is in flight (cancelled), stops the engine. Idempotent; call after Server::run() returned.
  void shutdown();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace kvasir::mcp
