#include "rpc/net/rpc_post.h"

#include <utility>

#include "rpc/net/http_text.h"

namespace kvasir::rpc {
namespace {

bool wants_stream(const Request& request) {
  if (!request.params || !request.params->is_object()) return false;
  const auto stream = request.params->find("stream");
  return stream != request.params->end() && stream->is_boolean() && stream->get<bool>();
}

/// One POST. Keeps itself alive until it is answered or the client is gone.
class Post final : public Channel, public std::enable_shared_from_this<Post> {
 public:
  Post(std::shared_ptr<PeerGroup> group, Service& service, HttpRequest request, std::shared_ptr<HttpExchange> exchange)
      : group_(std::move(group)),
        request_(std::move(request)),
        exchange_(std::move(exchange)),
        peer_(group_, service, info(), *this) {}

  void start() {
    self_ = shared_from_this();
    exchange_->on_disconnect([post = weak_from_this()] {
      if (const auto alive = post.lock()) alive->client_left();
    });
    exchange_->on_drained([post = weak_from_this()] {
      if (const auto alive = post.lock()) alive->peer_.drained();
    });
    peer_.receive(request_.body);
  }

  void send_answer(std::string text) override {
    if (!exchange_) return;
    if (exchange_->started()) return exchange_->event(text);
    answer_ = std::move(text);  // one at most: a body is one message or one batch
  }
  void send_notification(std::string text) override {
    if (exchange_ && exchange_->started()) exchange_->event(text);
  }
  bool congested() const override {
    return exchange_ && exchange_->buffered_bytes() > group_->limits.outbox_soft_bytes;
  }
  void cut(std::string_view) override {}
  void starting(const Request& request) override {
    if (exchange_ && !exchange_->started() && wants_stream(request)) exchange_->start_events({});
  }
  void idle() override {
    const auto exchange = std::exchange(exchange_, nullptr);
    if (!exchange) return;
    if (exchange->started()) {
      exchange->end();
    } else if (answer_.empty()) {
      exchange->respond(204, {}, {});
    } else {
      exchange->respond(200, {{"content-type", "application/json"}}, std::move(answer_));
    }
    release();
  }

 private:
  CallInfo info() const {
    CallInfo out;
    out.transport = Transport::kHttp;
    out.principal = request_.principal;
    out.headers = &request_.headers;
    return out;
  }
  /// The answers of cancelled calls still go out: the client may have closed its sending side only.
  void client_left() { peer_.cancel_all(CancelCause::kDisconnected); }
  /// Not from inside the peer's own call.
  void release() {
    group_->after(std::chrono::milliseconds(0), [self = std::move(self_)] {});
  }

  std::shared_ptr<PeerGroup> group_;
  HttpRequest request_;
  std::shared_ptr<HttpExchange> exchange_;
  Peer peer_;
  std::string answer_;
  std::shared_ptr<Post> self_;
};

}  // namespace

HttpHandler rpc_post_handler(std::shared_ptr<PeerGroup> group, Service& service) {
  return [group = std::move(group), &service](HttpRequest request, std::shared_ptr<HttpExchange> exchange) {
    if (request.method != "POST") {
      return exchange->respond(405, {{"allow", "POST"}, {"content-type", "text/plain"}}, "JSON-RPC is sent by POST\n");
    }
    const auto type = request.headers.find("content-type");
    if (type == request.headers.end() || media_type(type->second) != "application/json") {
      return exchange->respond(415, {{"content-type", "text/plain"}}, "the Content-Type must be application/json\n");
    }
    std::make_shared<Post>(group, service, std::move(request), std::move(exchange))->start();
  };
}

}  // namespace kvasir::rpc
