#include "mcp/http_reply.h"

#include <utility>

#include "mcp/error_mapping.h"

namespace kvasir::mcp {
namespace {

constexpr int kTooBusy = 503;

void add_retry_after(rpc::HeaderList& headers, int status) {
  if (status == kTooBusy) headers.emplace_back("Retry-After", std::to_string((kDefaultRetryAfterMs + 999) / 1000));
}

rpc::HeaderList json_headers(rpc::HeaderList headers) {
  headers.emplace_back("Content-Type", "application/json");
  return headers;
}

}  // namespace

void HttpAnswers::add(std::string text, int status) {
  if (!text.empty()) {
    if (events_) {
      exchange_->event(text);
    } else {
      texts_.push_back(std::move(text));
      status_ = status;
    }
  }
  if (--open_ == 0) finish();
}

void HttpAnswers::notify(const std::string& text) {
  if (!accepts_events_) return;
  if (!events_) {
    events_ = true;
    exchange_->start_events(headers_);
    for (const auto& earlier : texts_) exchange_->event(earlier);
    texts_.clear();
  }
  exchange_->event(text);
}

void HttpAnswers::on_drained(const rpc::Responder::Sink* reply, UniqueFunction<void()> fn) {
  if (drained_.empty()) {
    exchange_->on_drained([weak = weak_from_this()] {
      const auto self = weak.lock();
      if (!self) return;
      // A callback may end its call or register anew: it runs outside the table.
      for (auto& [who, callback] : std::exchange(self->drained_, {})) callback();
    });
  }
  drained_[reply] = std::move(fn);
}

void HttpAnswers::finish() {
  if (events_) return exchange_->end();
  // A cancelled request has no reply, but HTTP wants a response: an accepted message without content.
  if (texts_.empty()) return exchange_->respond(202, headers_, "");
  if (!batch_) {
    add_retry_after(headers_, status_);
    return exchange_->respond(status_, json_headers(headers_), std::move(texts_.front()));
  }
  std::string body = "[";
  for (const auto& text : texts_) body += (body.size() > 1 ? "," : "") + text;
  exchange_->respond(200, json_headers(headers_), body + "]");
}

void HttpReply::result(const rpc::Json& value) {
  if (done_) return;
  if (on_result) on_result();
  end(rpc::result_text(id_, value), 200);
}

void HttpReply::error(const rpc::RpcError& error, int http_status) {
  if (!done_) end(rpc::error_text(id_, error, true), http_status);
}

void HttpReply::notify(std::string_view method, const rpc::Json& params) {
  if (!done_ && !cancelled_) answers_->notify(rpc::notification_text(method, params));
}

void HttpReply::set_on_cancel(UniqueFunction<void(rpc::CancelCause)> fn) {
  if (!done_) on_cancel_ = std::move(fn);
}

void HttpReply::cancel(rpc::CancelCause cause) {
  if (done_ || std::exchange(cancelled_, true)) return;
  auto fn = std::move(on_cancel_);
  if (fn) fn(cause);
}

void HttpReply::end(std::string text, int status) {
  if (std::exchange(done_, true)) return;
  on_cancel_ = {};
  if (cancelled_) text.clear();  // MCP basic/utilities/cancellation: no response after a cancel
  answers_->add(std::move(text), status);
  if (auto done = std::exchange(on_done, nullptr)) done();
}

void refuse_http(rpc::HttpExchange& exchange, int status, const rpc::RpcError& error, const rpc::MessageId& id,
                 rpc::HeaderList headers) {
  add_retry_after(headers, status);
  exchange.respond(status, json_headers(std::move(headers)), rpc::error_text(id, error, true));
}

}  // namespace kvasir::mcp
