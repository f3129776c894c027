// An rpc::Server without sockets, threads or real time: tests call its routes, talk to its services through in-memory
// peers, and move its clock by hand. Everything happens on the test's thread, in a fixed order.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "rpc/channel.h"
#include "rpc/net/server.h"
#include "rpc/peer.h"

namespace kvasir::test {

/// What one client of a memory connection has received, oldest first.
class MemoryConnection final : public rpc::Channel {
 public:
  MemoryConnection(std::shared_ptr<rpc::PeerGroup> group, rpc::Service& service, rpc::Transport transport,
                   const std::string& principal);
  void receive(std::string_view text) { peer_->receive(text); }
  void disconnect() { peer_->disconnect(rpc::CancelCause::kDisconnected); }
  std::deque<std::string> sent;
  bool reader_stuck = false;  ///< congested() while true
  void drained() { peer_->drained(); }

  void send_answer(std::string text) override { sent.push_back(std::move(text)); }
  void send_notification(std::string text) override { sent.push_back(std::move(text)); }
  bool congested() const override { return reader_stuck; }
  void cut(std::string_view) override {}

 private:
  std::unique_ptr<rpc::Peer> peer_;
};

/// One HTTP exchange, recorded.
class MemoryExchange final : public rpc::HttpExchange {
 public:
  void respond(int code, const rpc::HeaderList& list, std::string text) override;
  void start_events(const rpc::HeaderList& list) override;
  void event(std::string_view json_line) override { events.emplace_back(json_line); }
  void end() override { ended = true; }
  bool started() const override { return status != 0; }
  size_t buffered_bytes() const override { return buffered; }
  void on_disconnect(UniqueFunction<void()> fn) override { disconnect_ = std::move(fn); }
  void on_drained(UniqueFunction<void()> fn) override { drained_ = std::move(fn); }

  void client_leaves();
  void client_reads();
  std::string header(const std::string& name) const;

  int status = 0;  ///< 0: nothing sent yet
  rpc::HeaderList headers;
  std::string body;
  std::vector<std::string> events;
  bool is_events = false, ended = false;
  size_t buffered = 0;

 private:
  UniqueFunction<void()> disconnect_, drained_;
};

class MemoryServer final : public rpc::Server {
 public:
  explicit MemoryServer(const rpc::Limits& limits = {});

  void route(std::string path, rpc::HttpHandler handler) override { routes_[std::move(path)] = std::move(handler); }
  void route_rpc_post(std::string path, rpc::Service& service) override { rpc_posts_[std::move(path)] = &service; }
  void route_websocket(std::string path, std::string subprotocol, rpc::Service& service) override;
  Result<uint16_t> listen(const rpc::ListenOptions&) override { return Failure(Code::kUnsupported, "memory only"); }
  void serve_stdio(int, int, rpc::Framing, rpc::Service&) override {}
  void serve_local(int, rpc::LocalGate) override {}
  size_t local_connections() const override { return 0; }
  void post(UniqueFunction<void()> task) override { after(std::chrono::milliseconds(0), std::move(task)); }
  void after(std::chrono::milliseconds delay, UniqueFunction<void()> task) override;
  void run() override { settle(); }
  void stop() override {}
  Stats stats() const override { return {}; }

  std::unique_ptr<MemoryConnection> connect(rpc::Service& service, rpc::Transport transport = rpc::Transport::kStdio,
                                            const std::string& principal = "local");
  std::shared_ptr<MemoryExchange> request(rpc::HttpRequest request);
  bool has_websocket(const std::string& path, const std::string& subprotocol) const;
  bool has_rpc_post(const std::string& path) const { return rpc_posts_.contains(path); }
  const Clock& clock() const noexcept { return clock_; }

  /// Runs what is due now.
  void settle() { advance(std::chrono::milliseconds(0)); }
  /// Moves time, running each task at its moment.
  void advance(std::chrono::milliseconds by);

 private:
  ManualClock clock_;
  std::shared_ptr<rpc::PeerGroup> group_;
  std::map<std::string, rpc::HttpHandler> routes_;
  std::map<std::string, rpc::Service*> rpc_posts_;
  std::map<std::string, std::string> websockets_;
  std::multimap<TimePoint, UniqueFunction<void()>> tasks_;  // equal times keep their order
};

}  // namespace kvasir::test
