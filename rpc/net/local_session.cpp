#include "rpc/net/local_session.h"

#include <utility>

#include "core/base/log.h"
#include "rpc/parse.h"

namespace kvasir::rpc {
namespace {

// As on stdio (stdio_channel.cpp): quick answers still come after `echo ... | kvasir rpc`.
constexpr std::chrono::milliseconds kGraceAfterInput{250};
constexpr std::chrono::milliseconds kLostProgressGap{10};

}  // namespace

LocalSession::LocalSession(Connection& connection, ServerContext& context, const LocalGate& gate)
    : connection_(connection),
      context_(context),
      gate_(gate),
      framing_(Framing::kDetect, context.limits(),
               {[this](std::string_view text) { message(text); },
                [this](const RpcError& error) {
                  if (peer_) return peer_->refuse(error);
                  connection_.abort();
                }}) {}

void LocalSession::bytes(char* data, size_t size) {
  if (!ending_) framing_.feed({data, size});
}

void LocalSession::message(std::string_view text) {
  if (ending_ || !connection_.open()) return;
  if (!peer_) return greet(text);
  peer_->receive(text);
}

void LocalSession::greet(std::string_view text) {
  auto parsed = parse_json(text, context_.limits());
  if (!parsed) {
    log::warn("front_end_refused reason=\"" + parsed.error().message + "\"");
    return connection_.abort();
  }
  greeting_ = std::move(*parsed);
  const LocalWelcome welcome = gate_(greeting_);
  connection_.send(framing_.frame(dump(welcome.reply)));
  if (welcome.service == nullptr) {
    ending_ = true;
    return connection_.finish();
  }
  mcp_ = welcome.service->rules().mcp_ids;
  peer_.emplace(context_.group, *welcome.service,
                CallInfo{.transport = Transport::kStdio, .principal = "local", .greeting = &greeting_}, *this);
}

void LocalSession::eof() {
  if (std::exchange(ending_, true)) return;
  if (!peer_) return connection_.finish();
  if (peer_->in_flight() == 0) return connection_.finish();
  context_.group->after(kGraceAfterInput, [this, connection = connection_.weak_from_this()] {
    if (const auto held = connection.lock(); held && held->open()) peer_->cancel_all(CancelCause::kDisconnected);
  });
}

void LocalSession::closed() {
  if (peer_) peer_->disconnect(CancelCause::kDisconnected);
}

void LocalSession::drained() {
  if (peer_) peer_->drained();
}

void LocalSession::shutdown() {
  ending_ = true;
  if (!peer_) return connection_.finish();
  peer_->cancel_all(CancelCause::kShutdown);
  idle();
}

void LocalSession::send_answer(std::string text) {
  connection_.send(framing_.frame(text));
}

void LocalSession::send_notification(std::string text) {
  send_answer(std::move(text));
}

bool LocalSession::congested() const {
  return connection_.congested();
}

void LocalSession::cut(std::string_view reason) {
  log::warn("front_end_cut reason=\"" + std::string(reason) + "\"");
  ending_ = true;
  connection_.finish();
}

void LocalSession::idle() {
  if (ending_ && peer_ && peer_->in_flight() == 0) connection_.finish();
}

std::chrono::milliseconds LocalSession::answer_gap() const {
  return mcp_ ? kLostProgressGap : std::chrono::milliseconds(0);
}

}  // namespace kvasir::rpc
