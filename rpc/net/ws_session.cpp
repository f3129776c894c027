#include "rpc/net/ws_session.h"

#include <utility>

#include "core/base/log.h"

namespace kvasir::rpc {
namespace {

constexpr std::chrono::seconds kControlWindow{10};
constexpr size_t kMinBytesPerSecond = 1024;

}  // namespace

WsSession::WsSession(Connection& connection, ServerContext& context, Service& service, CallInfo info)
    : connection_(connection),
      context_(context),
      codec_(context.limits().max_message_bytes, context.limits().max_fragments),
      peer_(context.group, service, std::move(info), *this),
      last_input_(connection.now()),
      partial_since_(last_input_),
      control_window_(last_input_) {}

WsSession::~WsSession() = default;

void WsSession::bytes(char* data, size_t size) {
  last_input_ = connection_.now();
  pinged_ = false;
  while (size > 0 && !closing_ && connection_.open()) {
    if (codec_.idle()) {
      partial_since_ = last_input_;
      partial_bytes_ = 0;
    }
    ws::Message message;
    size_t used = 0;
    const auto status = codec_.consume(data, size, used, message);
    data += used;
    size -= used;
    partial_bytes_ += used;
    if (status == ws::Codec::Status::kFault) return close(codec_.fault_code(), codec_.fault_reason());
    if (status == ws::Codec::Status::kMessage) handle(message);
  }
}

void WsSession::handle(ws::Message& message) {
  switch (message.kind) {
    case ws::Kind::kText: return peer_.receive(message.payload);
    case ws::Kind::kBinary: return close(ws::kUnsupportedData, "messages are text");
    case ws::Kind::kPing:
      if (control_allowed()) connection_.send(ws::pong_frame(message.payload));
      return;
    case ws::Kind::kPong: control_allowed(); return;
    case ws::Kind::kClose: {
      const uint16_t code = ws::close_reply(message.payload);
      peer_.disconnect(CancelCause::kDisconnected);
      return close(code, code == ws::kProtocolError ? "malformed close frame" : "");
    }
  }
}

bool WsSession::control_allowed() {
  if (last_input_ - control_window_ > kControlWindow) {
    control_window_ = last_input_;
    control_frames_ = 0;
  }
  if (++control_frames_ <= context_.limits().max_control_frames) return true;
  close(ws::kPolicyViolation, "too many control frames");
  return false;
}

void WsSession::close(uint16_t code, std::string_view reason) {
  if (std::exchange(closing_, true)) return;
  if (code != ws::kNormal && code != ws::kNoStatus && code != ws::kGoingAway) context_.count_refused();
  connection_.send(ws::close_frame(code, reason));
  connection_.finish();
  // The peer may be further up the stack, so it is told from the loop; what it sends until then is dropped.
  context_.reactor.post([this, alive = connection_.shared_from_this()] { peer_.disconnect(CancelCause::kDisconnected); });
}

void WsSession::eof() {
  peer_.disconnect(CancelCause::kDisconnected);
  connection_.finish();
}

void WsSession::closed() { peer_.disconnect(CancelCause::kDisconnected); }

void WsSession::drained() { peer_.drained(); }

void WsSession::tick(TimePoint now) {
  const Limits& limits = context_.limits();
  if (closing_) return;
  const auto waited = now - partial_since_;
  if (!codec_.idle() && waited > limits.body_timeout &&
      static_cast<double>(partial_bytes_) < kMinBytesPerSecond * std::chrono::duration<double>(waited).count()) {
    return close(ws::kPolicyViolation, "a message did not arrive in time");
  }
  const auto silent = now - last_input_;
  if (pinged_ && silent > limits.ping_interval + limits.pong_timeout) {
    log::info("websocket_cut reason=no_pong peer=" + connection_.peer_address());
    return connection_.abort();
  }
  if (!pinged_ && silent > limits.ping_interval) {
    pinged_ = true;
    connection_.send(ws::ping_frame({}));
  }
}

void WsSession::shutdown() {
  shutting_down_ = true;
  peer_.cancel_all(CancelCause::kShutdown);
  idle();
}

void WsSession::send_answer(std::string text) {
  if (!closing_) connection_.send(ws::text_frame(text));
}

void WsSession::send_notification(std::string text) { send_answer(std::move(text)); }

bool WsSession::congested() const { return connection_.congested(); }

void WsSession::cut(std::string_view reason) { close(ws::kPolicyViolation, reason); }

void WsSession::idle() {
  if (shutting_down_ && peer_.in_flight() == 0) close(ws::kGoingAway, "the server stops");
}

}  // namespace kvasir::rpc
