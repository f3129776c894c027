// The answer to one MCP request that came by POST: JSON if nothing was said before the result, else server-sent events
// (MCP 2026-07-28 basic/transports/streamable-http). A Responder::Sink, kept alive by the call it answers; io thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "rpc/net/http.h"
#include "rpc/service.h"

namespace kvasir::mcp {

/// The replies of one POST body: one message, or a batch of 2025-03-26.
class HttpAnswers : public std::enable_shared_from_this<HttpAnswers> {
 public:
  HttpAnswers(std::shared_ptr<rpc::HttpExchange> exchange, bool accepts_events, size_t soft_bytes)
      : exchange_(std::move(exchange)), accepts_events_(accepts_events), soft_bytes_(soft_bytes) {}

  /// Expect `count` replies in an array.
  void expect_batch(size_t count) { batch_ = true, open_ = count; }
  /// One more reply is done; `text` is empty if it stays unanswered. `status` counts for single replies.
  void add(std::string text, int status);
  /// A message before the result; lost if the client takes no events.
  void notify(const std::string& text);
  void set_header(std::string name, std::string value) { headers_.emplace_back(std::move(name), std::move(value)); }
  bool congested() const { return exchange_->started() && exchange_->buffered_bytes() > soft_bytes_; }
  /// Runs `fn` whenever the client has read on; one per reply, the latest counts.
  void on_drained(const rpc::Responder::Sink* reply, UniqueFunction<void()> fn);

 private:
  void finish();

  std::shared_ptr<rpc::HttpExchange> exchange_;
  bool accepts_events_;
  size_t soft_bytes_;
  rpc::HeaderList headers_;
  bool batch_ = false;
  bool events_ = false;
  size_t open_ = 1;
  int status_ = 200;
  std::vector<std::string> texts_;
  std::map<const rpc::Responder::Sink*, UniqueFunction<void()>> drained_;
};

class HttpReply final : public rpc::Responder::Sink {
 public:
  HttpReply(std::shared_ptr<HttpAnswers> answers, rpc::MessageId id)
      : answers_(std::move(answers)), id_(std::move(id)) {}

  void result(const rpc::Json& value) override;
  void error(const rpc::RpcError& error, int http_status) override;
  void notify(std::string_view method, const rpc::Json& params) override;
  void drop() override { end({}, 200); }
  bool congested() const override { return answers_->congested(); }
  void set_on_cancel(UniqueFunction<void(rpc::CancelCause)> fn) override;
  void set_on_drained(UniqueFunction<void()> fn) override { answers_->on_drained(this, std::move(fn)); }

  /// At most one cancel reaches the call; after the answer none does.
  void cancel(rpc::CancelCause cause);
  bool done() const noexcept { return done_; }
  /// Called just before a result (not an error) is written: last chance for headers.
  std::function<void()> on_result;
  std::function<void()> on_done;

 private:
  void end(std::string text, int status);

  std::shared_ptr<HttpAnswers> answers_;
  rpc::MessageId id_;
  UniqueFunction<void(rpc::CancelCause)> on_cancel_;
  bool done_ = false, cancelled_ = false;
};

/// Answers without a message: an error body with the same shape for every refusal of the endpoint.
void refuse_http(rpc::HttpExchange& exchange, int status, const rpc::RpcError& error, const rpc::MessageId& id = {},
                 rpc::HeaderList headers = {});

}  // namespace kvasir::mcp
