#include "rpc/net/server.h"

#include <atomic>
#include <utility>
#include <vector>

#include "core/base/log.h"
#include "rpc/net/listener.h"
#include "rpc/net/local_listener.h"
#include "rpc/net/rpc_post.h"
#include "rpc/net/server_context.h"
#include "rpc/net/stdio_channel.h"

namespace kvasir::rpc {
namespace {

constexpr std::chrono::milliseconds kDrainTime{1500};
constexpr std::chrono::milliseconds kDrainPoll{10};
constexpr std::chrono::milliseconds kCountEvery{100};

class ServerImpl final : public Server {
 public:
  explicit ServerImpl(const Limits& limits) : listener_((context_.group->limits = limits, context_)), local_(context_) {
    context_.group->after = [this](std::chrono::milliseconds delay, UniqueFunction<void()> task) {
      context_.reactor.after(delay, std::move(task));
    };
  }

  void route(std::string path, HttpHandler handler) override { context_.routes[std::move(path)].handler = std::move(handler); }
  void route_rpc_post(std::string path, Service& service) override {
    route(std::move(path), rpc_post_handler(context_.group, service));
  }
  void route_websocket(std::string path, std::string subprotocol, Service& service) override {
    Route& route = context_.routes[std::move(path)];
    route.websocket_service = &service;
    route.subprotocol = std::move(subprotocol);
  }

  Result<uint16_t> listen(const ListenOptions& options) override {
    if (options.token.empty() && !is_loopback_host(options.host)) {
      return Failure{Code::kInvalidArgument,
                     "listening on " + options.host + " reaches beyond this machine and needs a token (--token)"};
    }
    context_.policy.emplace(options);
    return listener_.open(options.host, options.port);
  }

  void serve_stdio(int in_fd, int out_fd, Framing framing, Service& service) override {
    stdio_ = std::make_unique<StdioChannel>(context_, in_fd, out_fd, framing, service, [this] {
      stdio_over_ = true;
      begin_stop();
    });
  }

  void serve_local(int listening_fd, LocalGate gate) override { local_.open(listening_fd, std::move(gate)); }
  size_t local_connections() const override { return local_.connections(); }

  void post(UniqueFunction<void()> task) override { context_.reactor.post(std::move(task)); }
  void after(std::chrono::milliseconds delay, UniqueFunction<void()> task) override {
    context_.reactor.after(delay, std::move(task));
  }

  void run() override {
    count();
    context_.reactor.run();
    stdio_.reset();
  }

  void stop() override {
    post([this] { begin_stop(); });
  }

  Stats stats() const override {
    Stats out;
    out.connections = connections_.load(std::memory_order_relaxed);
    out.in_flight = context_.group->in_flight.load(std::memory_order_relaxed);
    out.outbox_bytes = outbox_bytes_.load(std::memory_order_relaxed);
    out.requests = context_.group->requests.load(std::memory_order_relaxed);
    out.refused = context_.group->refused.load(std::memory_order_relaxed);
    return out;
  }

 private:
  void begin_stop() {
    if (std::exchange(context_.stopping, true)) return;
    deadline_ = context_.group->clock.now() + kDrainTime;
    listener_.stop_accepting();
    local_.stop_accepting();
    listener_.shutdown();
    local_.shutdown();
    const std::vector<Peer*> peers(context_.group->members.begin(), context_.group->members.end());
    for (Peer* peer : peers) {
      if (context_.group->members.contains(peer)) peer->cancel_all(CancelCause::kShutdown);
    }
    if (stdio_ && !stdio_over_) stdio_->shutdown();
    drain();
  }

  /// Ends the loop when every connection is gone, or the time for that is over.
  void drain() {
    const bool quiet = listener_.connections() + local_.connections() == 0 && (!stdio_ || stdio_over_);
    if (!quiet && context_.group->clock.now() < deadline_) return after(kDrainPoll, [this] { drain(); });
    listener_.abort_all();
    local_.abort_all();
    post([this] { context_.reactor.stop(); });  // behind the endings that abort_all() posted
  }

  /// Keeps the numbers of stats(), which other threads read.
  void count() {
    connections_ = listener_.connections() + local_.connections() + (stdio_ && !stdio_over_ ? 1 : 0);
    outbox_bytes_ = listener_.buffered_bytes() + local_.buffered_bytes() + (stdio_ ? stdio_->buffered_bytes() : 0);
    after(kCountEvery, [this] { count(); });
  }

  ServerContext context_;
  Listener listener_;
  LocalListener local_;
  std::unique_ptr<StdioChannel> stdio_;
  bool stdio_over_ = false;
  TimePoint deadline_{};
  std::atomic<uint64_t> connections_{0};
  std::atomic<uint64_t> outbox_bytes_{0};
};

}  // namespace

std::unique_ptr<Server> Server::create(const Limits& limits) { return std::make_unique<ServerImpl>(limits); }

}  // namespace kvasir::rpc
