#include "rpc/service.h"

#include "core/base/log.h"

namespace kvasir::rpc {
namespace {

void answer_forgotten(Responder::Sink& sink) {
  log::error("rpc_unanswered a responder was destroyed without an answer");
  sink.error({kInternalError, "Internal error: the request ended without an answer", std::nullopt}, 500);
}

}  // namespace

// Each answering call takes the sink out of the responder first: what it runs may destroy the responder.

Responder& Responder::operator=(Responder&& other) noexcept {
  if (this == &other) return *this;
  const auto old = std::exchange(sink_, std::move(other.sink_));
  if (old) answer_forgotten(*old);
  return *this;
}

Responder::~Responder() {
  if (sink_) answer_forgotten(*std::exchange(sink_, nullptr));
}

void Responder::result(const Json& value) {
  if (const auto sink = std::exchange(sink_, nullptr)) return sink->result(value);
  log::error("rpc_answered_twice a second result was dropped");
}

void Responder::error(const RpcError& error, int http_status) {
  if (const auto sink = std::exchange(sink_, nullptr)) return sink->error(error, http_status);
  log::error("rpc_answered_twice a second answer was dropped");
}

void Responder::notify(std::string_view method, const Json& params) {
  if (const auto sink = sink_) sink->notify(method, params);
}

void Responder::drop() {
  if (const auto sink = std::exchange(sink_, nullptr)) sink->drop();
}

bool Responder::congested() const { return sink_ && sink_->congested(); }

void Responder::on_cancel(UniqueFunction<void(CancelCause)> fn) {
  if (const auto sink = sink_) sink->set_on_cancel(std::move(fn));
}

void Responder::on_drained(UniqueFunction<void()> fn) {
  if (const auto sink = sink_) sink->set_on_drained(std::move(fn));
}

}  // namespace kvasir::rpc
