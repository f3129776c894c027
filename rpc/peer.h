// One client as the protocol sees it: a stdio or WebSocket connection, or one HTTP POST. Texts come in, calls go to a
// Service, answers go out in any order. Owns the table of calls in flight, batches, and cancellation, which is handled
// as soon as it is read. Owned by its transport; io thread only.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "core/base/clock.h"
#include "rpc/channel.h"
#include "rpc/limits.h"
#include "rpc/parse.h"
#include "rpc/service.h"

namespace kvasir::rpc {

class Peer;

/// What all peers of one server share. Outlives them, and every responder. Counters are thread-safe, the rest is not.
struct PeerGroup {
  Limits limits;
  SteadyClock clock;
  std::function<void(std::chrono::milliseconds, UniqueFunction<void()>)> after;  ///< runs a task later on the io thread
  std::set<Peer*> members;
  std::atomic<uint64_t> in_flight{0};
  std::atomic<uint64_t> requests{0};
  std::atomic<uint64_t> refused{0};
};

class Peer {
 public:
  /// `service`, `channel` and what `info` points to outlive the peer. On stdio and WebSocket the service is told of the
  /// connection.
  Peer(std::shared_ptr<PeerGroup> group, Service& service, CallInfo info, Channel& channel);
  ~Peer();
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  /// One text: a line, a frame, a body.
  void receive(std::string_view text);
  /// Answers a text that never was a message (too long, bad framing): an error without an id.
  void refuse(const RpcError& error);
  /// The channel has room again.
  void drained();
  /// Cancels every call, each at most once; answers still go out as the protocol wants.
  void cancel_all(CancelCause cause);
  /// The client is gone: cancels every call and forgets it. Further texts and answers are ignored.
  void disconnect(CancelCause cause);
  size_t in_flight() const noexcept { return calls_.size(); }

 private:
  class Call;
  struct Batch;
  using CallPtr = std::shared_ptr<Call>;
  using BatchPtr = std::shared_ptr<Batch>;

  void handle(Incoming message, const BatchPtr& batch);
  void start(Request request, const BatchPtr& batch);
  void notification(Request request, bool in_batch);
  void cancel(const Json* target);
  CallPtr find(const Json& target) const;
  void answer(const BatchPtr& batch, std::string text);
  void refuse_request(const MessageId& id, RpcError error, const BatchPtr& batch);
  void leave(const BatchPtr& batch);
  void finish(Call& call, std::string text);
  void check_idle();

  std::shared_ptr<PeerGroup> group_;
  Service& service_;
  Service::Rules rules_;
  CallInfo info_;
  Channel& channel_;
  std::shared_ptr<ConnectionState> state_;
  std::set<CallPtr> calls_;             // everything unanswered
  std::map<std::string, CallPtr> by_id_;  // ids that are taken; MCP frees an id as soon as it is cancelled
  uint32_t unknown_responses_ = 0;
  bool receiving_ = false;
  bool gone_ = false;
};

}  // namespace kvasir::rpc
