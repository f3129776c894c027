#include "mcp/host.h"

#include <atomic>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <variant>

#include "core/base/log.h"
#include "mcp/engine_calls.h"
#include "mcp/error_mapping.h"
#include "mcp/event_loop.h"
#include "mcp/http_endpoint.h"
#include "mcp/json_rpc_service.h"
#include "mcp/metrics.h"
#include "mcp/server.h"

namespace kvasir::mcp {
namespace {

// Between batches of events the io thread looks after its connections.
constexpr size_t kEventsPerTurn = 256;
constexpr std::chrono::milliseconds kLastWords{500}, kLastWordsPoll{1};  // at the end; a step of the engine is shorter

class ServerLoop final : public EventLoop {
 public:
  explicit ServerLoop(const Clock* clock) : clock_(clock != nullptr ? *clock : steady_) {}
  void attach(rpc::Server& server) { server_ = &server; }
  void post(UniqueFunction<void()> task) override {
    if (server_ != nullptr) server_->post(std::move(task));
  }
  void after(std::chrono::milliseconds delay, UniqueFunction<void()> task) override {
    if (server_ != nullptr) server_->after(delay, std::move(task));
  }
  TimePoint now() const override { return clock_.now(); }

 private:
  SteadyClock steady_;
  const Clock& clock_;
  rpc::Server* server_ = nullptr;
};

class PreloadCall final : public EngineCall {
 public:
  explicit PreloadCall(std::function<void(Result<void>)> done) : done_(std::move(done)) {}
  void final(const Event& event) override {
    if (const auto* failed = std::get_if<Failed>(&event)) return done_(Failure(to_error(*failed)));
    done_({});
  }

 private:
  std::function<void(Result<void>)> done_;
};

void answer_get(const rpc::HttpRequest& request, rpc::HttpExchange& exchange, int status, const char* type,
                std::string body) {
  if (request.method == "GET" || request.method == "HEAD")
    return exchange.respond(status, {{"Content-Type", type}, {"Cache-Control", "no-store"}},
                            request.method == "HEAD" ? "" : std::move(body));
  exchange.respond(405, {{"Allow", "GET, HEAD"}}, "");
}

}  // namespace

struct Host::Parts {
  Parts(std::unique_ptr<Engine> the_engine, HostOptions the_options)
      : options(std::move(the_options)),
        engine(std::move(the_engine)),
        loop(options.clock),
        calls(*engine),
        sessions(
            options.open_sessions ? options.open_sessions : OpenStore([] { return open_memory_session_store(); }),
            [this](UniqueFunction<void()> task) { post(std::move(task)); }, options.durable_sessions, options.kv_blocks),
        services{
            calls, sessions, loop, metrics, options.resolve_model, options.untimed_call_limit, options.congested_limit,
            options.autosave_tokens},
        mcp(services, tools, options.default_engine, options.version),
        json_rpc(services, tools, options.default_engine),
        http(mcp, loop,
             {.default_engine = options.default_engine,
              .limits = options.limits,
              .max_sessions = options.max_http_sessions,
              .session_ttl = options.http_session_ttl}) {}

  void drain() {
    // Cleared first: an event that comes while we drain wakes us again.
    wake_posted.store(false);
    if (!closed && calls.drain(kEventsPerTurn)) wake();
  }
  /// Any thread.
  void wake() {
    if (!wake_posted.exchange(true)) loop.post([this] { drain(); });
  }
  /// Any thread. Unlike the loop's own queue this one is emptied at shutdown: a stored turn is still acknowledged.
  void post(UniqueFunction<void()> task) {
    {
      const std::lock_guard lock(posted_mutex);
      posted.push_back(std::move(task));
    }
    loop.post([this] { run_posted(); });
  }
  void run_posted() {
    for (;;) {
      UniqueFunction<void()> task;
      {
        const std::lock_guard lock(posted_mutex);
        if (posted.empty()) return;
        task = std::move(posted.front());
        posted.pop_front();
      }
      task();
    }
  }
  /// Expired sessions and what nothing names any more go once an hour.
  void collect_later() {
    loop.after(std::chrono::hours(1), [this] {
      if (closed) return;
      sessions.collect_garbage();
      collect_later();
    });
  }
  /// What sessions' answers came to, so that it can be stored.
  void hear_out() {
    const auto deadline = std::chrono::steady_clock::now() + kLastWords;
    while (!calls.heard_out() && std::chrono::steady_clock::now() < deadline) {
      if (!calls.drain(kEventsPerTurn)) std::this_thread::sleep_for(kLastWordsPoll);
    }
  }
  void lose_store(const std::string& reason) {
    log::error("session_store_lost reason=\"" + reason + "\"");
    store_lost = "the session store failed: " + reason;
    if (options.on_store_lost) options.on_store_lost(reason);
  }
  /// Why no request should come here, or "".
  std::string not_ready() const {
    if (closed) return "shutting down";
    if (!store_lost.empty()) return store_lost;
    // The model may still have to load, its name must lead to a file.
    const auto model = options.resolve_model ? options.resolve_model(options.default_engine.model) : Result<std::string>("");
    return model ? std::string() : model.error().message;
  }
  void add_status_routes(rpc::Server& server);

  HostOptions options;
  std::unique_ptr<Engine> engine;
  ServerLoop loop;
  Metrics metrics;
  EngineCalls calls;
  std::mutex posted_mutex;
  std::deque<UniqueFunction<void()>> posted;  // guarded by posted_mutex
  SessionService sessions;
  CallServices services;
  ToolSet tools;
  McpServer mcp;
  JsonRpcService json_rpc;
  HttpEndpoint http;
  rpc::Server* server = nullptr;
  std::atomic<bool> wake_posted{false};
  bool closed = false;
  std::string store_lost;  ///< why, if it is
};

Host::Host(std::unique_ptr<Engine> engine, HostOptions options)
    : parts_(std::make_unique<Parts>(std::move(engine), std::move(options))) {}

Host::~Host() {
  shutdown();
}

void Host::attach(rpc::Server& server) {
  Parts& p = *parts_;
  p.server = &server;
  p.loop.attach(server);
  p.sessions.on_lost([&p](const std::string& reason) { p.lose_store(reason); });
  p.engine->set_wake([&p] { p.wake(); });
  server.route("/mcp", [&p](rpc::HttpRequest request, std::shared_ptr<rpc::HttpExchange> exchange) {
    p.http.handle(std::move(request), exchange);
  });
  server.route_websocket("/mcp", "mcp", p.mcp);
  server.route_websocket("/ws", "mcp", p.mcp);
  server.route_rpc_post("/rpc", p.json_rpc);
  server.route_websocket("/rpc", "", p.json_rpc);
  p.add_status_routes(server);
  if (p.options.durable_sessions) p.collect_later();
}

void Host::Parts::add_status_routes(rpc::Server& to) {
  to.route("/livez", [](rpc::HttpRequest request, std::shared_ptr<rpc::HttpExchange> exchange) {
    answer_get(request, *exchange, 200, "text/plain; charset=utf-8", "ok\n");
  });
  to.route("/readyz", [this](rpc::HttpRequest request, std::shared_ptr<rpc::HttpExchange> exchange) {
    const std::string why = not_ready();
    answer_get(request, *exchange, why.empty() ? 200 : 503, "text/plain; charset=utf-8", (why.empty() ? "ready" : why) + "\n");
  });
  to.route("/health", [this](rpc::HttpRequest request, std::shared_ptr<rpc::HttpExchange> exchange) {
    const std::string status = closed ? "shutting down" : store_lost.empty() ? "ok" : store_lost;
    const Json body{{"status", status}, {"version", options.version}, {"calls", calls.pending()}};
    answer_get(request, *exchange, status == "ok" ? 200 : 503, "application/json", rpc::dump(body));
  });
  to.route("/metrics", [this](rpc::HttpRequest request, std::shared_ptr<rpc::HttpExchange> exchange) {
    answer_get(request, *exchange, 200, "text/plain; version=0.0.4; charset=utf-8",
               metrics.text(server->stats(), engine->metrics(), calls.pending(), http.sessions()) +
                   "# HELP kvasir_session_store_lost 1 after a failed write or fsync of the session store.\n"
                   "# TYPE kvasir_session_store_lost gauge\nkvasir_session_store_lost " +
                   (store_lost.empty() ? "0\n" : "1\n"));
  });
}

rpc::Service& Host::mcp_service() {
  return parts_->mcp;
}
rpc::Service& Host::json_rpc_service() {
  return parts_->json_rpc;
}

size_t Host::pending_calls() const {
  return parts_->calls.pending();
}

void Host::preload(EngineKey engine, std::function<void(Result<void>)> done) {
  Parts& p = *parts_;
  if (p.options.resolve_model) {
    auto path = p.options.resolve_model(engine.model);
    if (!path) return done(Failure(path.error()));
    engine.model = std::move(*path);
  }
  const auto call = std::make_shared<PreloadCall>(done);
  const auto id = p.calls.start(std::move(engine), Preload{}, call);
  if (!id) done(Failure(id.error()));
}

void Host::shutdown() {
  Parts& p = *parts_;
  if (std::exchange(p.closed, true)) return;
  // First the callers get their answers, then the engine goes: its last events have nobody to reach.
  if (p.calls.begin_close()) p.hear_out();
  p.calls.close();
  p.sessions.shutdown();
  p.run_posted();
  p.engine->shutdown();
}

}  // namespace kvasir::mcp
