#include "rpc/peer.h"

#include <algorithm>
#include <exception>
#include <utility>
#include <vector>

#include "core/base/log.h"

namespace kvasir::rpc {
namespace {

constexpr int kRetryAfterMs = 1000;

/// The id as it would stand in a message, from parsed JSON.
std::string id_text(const Json& id) { return dump(id); }

}  // namespace

/// Answers of one batch, sent as one array when the last is there.
struct Peer::Batch {
  std::vector<std::string> answers;
  size_t open = 1;  // unanswered requests, and one while the batch is being read
};

class Peer::Call final : public Responder::Sink, public std::enable_shared_from_this<Peer::Call> {
 public:
  Call(Peer& peer, MessageId id, BatchPtr batch)
      : peer_(&peer), group_(peer.group_), state_(peer.state_), id_(std::move(id)), batch_(std::move(batch)) {
    group_->in_flight.fetch_add(1, std::memory_order_relaxed);
  }
  ~Call() override {
    if (!counted_out_) group_->in_flight.fetch_sub(1, std::memory_order_relaxed);
  }

  void result(const Json& value) override { end(silenced() ? std::string() : result_text(id_, value)); }
  void error(const RpcError& e, int) override { end(silenced() ? std::string() : error_text(id_, e, omit_id())); }
  void drop() override { end({}); }
  void notify(std::string_view method, const Json& params) override {
    if (peer_ == nullptr || ended_ || silenced()) return;
    last_notice_ = group_->clock.now();
    peer_->channel_.send_notification(notification_text(method, params));
  }
  bool congested() const override { return peer_ != nullptr && peer_->channel_.congested(); }
  void set_on_cancel(UniqueFunction<void(CancelCause)> fn) override {
    if (cancel_cause_) return fn(*cancel_cause_);
    if (!ended_) on_cancel_ = std::move(fn);
  }
  void set_on_drained(UniqueFunction<void()> fn) override {
    if (!ended_) on_drained_ = std::move(fn);
  }

  void cancel(CancelCause cause) {
    if (cancel_cause_) return;
    cancel_cause_ = cause;  // also silences an answer that waits out its gap
    auto fn = std::move(on_cancel_);
    if (fn) fn(cause);
  }
  void drained() {
    auto fn = std::move(on_drained_);
    if (!fn) return;
    fn();
    if (!on_drained_ && !ended_) on_drained_ = std::move(fn);
  }
  void detach() { peer_ = nullptr; }
  const MessageId& id() const { return id_; }
  const BatchPtr& batch() const { return batch_; }
  bool cancelled() const { return cancel_cause_.has_value(); }

 private:
  bool omit_id() const { return peer_ != nullptr && peer_->rules_.mcp_ids; }
  bool silenced() const { return cancel_cause_ && (peer_ == nullptr || !peer_->rules_.answer_cancelled); }

  /// Ends the call with a text, or with silence if it is empty.
  void end(std::string text) {
    if (ended_) return;
    ended_ = true;
    const auto self = shared_from_this();
    on_cancel_ = {};
    on_drained_ = {};
    if (peer_ == nullptr) return count_out();
    if (text.empty() || !last_notice_) return deliver(std::move(text));
    const auto earliest = *last_notice_ + peer_->channel_.answer_gap();
    const auto now = group_->clock.now();
    if (now >= earliest) return deliver(std::move(text));
    const auto wait = std::chrono::ceil<std::chrono::milliseconds>(earliest - now);
    group_->after(wait, [self, answer = std::move(text)]() mutable { self->deliver(std::move(answer)); });
  }
  void deliver(std::string text) {
    count_out();
    if (peer_ == nullptr) return;
    if (silenced()) text.clear();
    peer_->finish(*this, std::move(text));
  }
  void count_out() {
    if (!std::exchange(counted_out_, true)) group_->in_flight.fetch_sub(1, std::memory_order_relaxed);
  }

  Peer* peer_;  // null once the client is gone
  std::shared_ptr<PeerGroup> group_;
  std::shared_ptr<ConnectionState> state_;  // kept until the last call of the connection ends
  MessageId id_;
  BatchPtr batch_;
  std::optional<TimePoint> last_notice_;
  std::optional<CancelCause> cancel_cause_;
  UniqueFunction<void(CancelCause)> on_cancel_;
  UniqueFunction<void()> on_drained_;
  bool ended_ = false;
  bool counted_out_ = false;
};

Peer::Peer(std::shared_ptr<PeerGroup> group, Service& service, CallInfo info, Channel& channel)
    : group_(std::move(group)), service_(service), rules_(service.rules()), info_(std::move(info)), channel_(channel) {
  if (info_.transport != Transport::kHttp) {
    state_ = service_.connect(info_);
    info_.connection = state_.get();
  }
  group_->members.insert(this);
}

Peer::~Peer() {
  disconnect(CancelCause::kDisconnected);
  group_->members.erase(this);
}

void Peer::receive(std::string_view text) {
  if (gone_) return;
  receiving_ = true;
  const auto accepts = [this](const Json& array) {
    CallInfo info = info_;
    info.in_batch = true;
    return service_.accepts_batch(array, info);
  };
  ParsedText parsed = parse_text(text, group_->limits, rules_, accepts);
  BatchPtr batch;
  if (parsed.is_batch && !parsed.batch_refused) batch = std::make_shared<Batch>();
  for (Incoming& message : parsed.messages) {
    if (gone_) break;
    handle(std::move(message), batch);
  }
  if (batch) leave(batch);
  receiving_ = false;
  check_idle();
}

void Peer::refuse(const RpcError& error) {
  if (gone_) return;
  group_->refused.fetch_add(1, std::memory_order_relaxed);
  channel_.send_answer(error_text({}, error, rules_.mcp_ids));
  check_idle();
}

void Peer::handle(Incoming message, const BatchPtr& batch) {
  if (auto* request = std::get_if<Request>(&message)) {
    group_->requests.fetch_add(1, std::memory_order_relaxed);
    if (request->id.present()) return start(std::move(*request), batch);
    return notification(std::move(*request), batch != nullptr);
  }
  if (auto* bad = std::get_if<BadMessage>(&message)) return refuse_request(bad->id, std::move(bad->error), batch);
  if (++unknown_responses_ == group_->limits.max_unknown_responses) channel_.cut("too many responses to nothing");
}

void Peer::start(Request request, const BatchPtr& batch) {
  const Limits& limits = group_->limits;
  if (by_id_.contains(request.id.text)) {
    return refuse_request({}, {kInvalidRequest, "Invalid Request: id " + request.id.text + " is already in flight", std::nullopt},
                          batch);
  }
  if (calls_.size() >= limits.max_in_flight || group_->in_flight.load() >= limits.max_in_flight_total) {
    return refuse_request(request.id, {kOverloaded, "Overloaded: too many requests in flight, try again later",
                                       Json{{"retryAfterMs", kRetryAfterMs}}}, batch);
  }
  const auto call = std::make_shared<Call>(*this, request.id, batch);
  calls_.insert(call);
  by_id_.emplace(request.id.text, call);
  if (batch) ++batch->open;
  channel_.starting(request);
  CallInfo info = info_;
  info.in_batch = batch != nullptr;
  try {
    service_.call(std::move(request), info, Responder(call));
  } catch (const std::exception& e) {  // its responder answered -32603 when it was destroyed
    log::error(std::string("rpc_exception ") + e.what());
  }
}

void Peer::notification(Request request, bool in_batch) {
  const auto member = [&request](const char* name) -> const Json* {
    if (!request.params || !request.params->is_object()) return nullptr;
    const auto found = request.params->find(name);
    return found == request.params->end() ? nullptr : &*found;
  };
  if (request.method == "notifications/cancelled") return cancel(member("requestId"));
  if (rules_.dollar_cancel && request.method == "$/cancelRequest") return cancel(member("id"));
  CallInfo info = info_;
  info.in_batch = in_batch;
  try {
    service_.notification(std::move(request), info);
  } catch (const std::exception& e) {
    log::error(std::string("rpc_exception ") + e.what());
  }
}

void Peer::cancel(const Json* target) {
  if (target == nullptr) return;
  const auto call = find(*target);
  if (!call) return;
  if (!rules_.answer_cancelled) by_id_.erase(call->id().text);
  call->cancel(CancelCause::kRequested);
}

Peer::CallPtr Peer::find(const Json& target) const {
  if (const auto found = by_id_.find(id_text(target)); found != by_id_.end()) return found->second;
  if (!target.is_number_float()) return nullptr;
  // 1.0 and 1e0 name the same request as 1, unless two do.
  CallPtr only;
  for (const auto& [text, call] : by_id_) {
    if (call->id().kind != MessageId::Kind::kNumber) continue;
    const auto value = parse_json(text, group_->limits);
    if (!value || value->get<double>() != target.get<double>()) continue;
    if (only) return nullptr;
    only = call;
  }
  return only;
}

void Peer::answer(const BatchPtr& batch, std::string text) {
  if (batch) {
    batch->answers.push_back(std::move(text));
  } else {
    channel_.send_answer(std::move(text));
  }
}

void Peer::refuse_request(const MessageId& id, RpcError error, const BatchPtr& batch) {
  group_->refused.fetch_add(1, std::memory_order_relaxed);
  answer(batch, error_text(id, error, rules_.mcp_ids));
}

void Peer::leave(const BatchPtr& batch) {
  if (--batch->open != 0 || batch->answers.empty() || gone_) return;
  size_t bytes = 2;
  for (const auto& text : batch->answers) bytes += text.size() + 1;
  std::string out;
  out.reserve(bytes);
  for (const auto& text : batch->answers) {
    out += out.empty() ? '[' : ',';
    out += text;
  }
  out += ']';
  batch->answers.clear();
  channel_.send_answer(std::move(out));
}

void Peer::finish(Call& call, std::string text) {
  const auto self = call.shared_from_this();
  calls_.erase(self);
  if (const auto found = by_id_.find(call.id().text); found != by_id_.end() && found->second == self) by_id_.erase(found);
  call.detach();
  if (!text.empty()) answer(call.batch(), std::move(text));
  if (call.batch()) leave(call.batch());
  check_idle();
}

void Peer::check_idle() {
  if (!receiving_ && !gone_ && calls_.empty()) channel_.idle();
}

void Peer::drained() {
  const std::vector<CallPtr> calls(calls_.begin(), calls_.end());
  for (const auto& call : calls) call->drained();
}

void Peer::cancel_all(CancelCause cause) {
  const std::vector<CallPtr> calls(calls_.begin(), calls_.end());
  for (const auto& call : calls) call->cancel(cause);
}

void Peer::disconnect(CancelCause cause) {
  if (std::exchange(gone_, true)) return;
  const std::vector<CallPtr> calls(calls_.begin(), calls_.end());
  calls_.clear();
  by_id_.clear();
  for (const auto& call : calls) call->detach();
  for (const auto& call : calls) call->cancel(cause);
}

}  // namespace kvasir::rpc
