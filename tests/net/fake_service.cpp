#include "tests/net/fake_service.h"

#include <stdexcept>

namespace kvasir::test {

using rpc::Json;
using rpc::Responder;

struct FakeService::Stream {
  Responder responder;
  int left = 0;
  int sent = 0;
  int interval_ms = 0;
  std::string text;
  bool ended = false;
  bool waiting = false;
};

namespace {

int number(const Json& params, const char* name, int fallback) {
  return params.is_object() && params.contains(name) ? params[name].get<int>() : fallback;
}

}  // namespace

void FakeService::call(rpc::Request request, const rpc::CallInfo& info, Responder responder) {
  ++calls;
  const Json params = request.params ? *request.params : Json::object();
  if (request.method == "echo") return responder.result(params);
  if (request.method == "whoami") return responder.result(Json{{"principal", info.principal}, {"batch", info.in_batch}});
  if (request.method == "slow") return slow(params, std::move(responder));
  if (request.method == "stream") return stream(params, std::move(responder));
  if (request.method == "big") return responder.result(Json(std::string(static_cast<size_t>(number(params, "bytes", 0)), 'x')));
  if (request.method == "dirty") return responder.result(Json("\xff\n\ndata: \r"));
  if (request.method == "forget") return;
  if (request.method == "throw") throw std::runtime_error("on purpose");
  responder.error({rpc::kMethodNotFound, "Method not found", std::nullopt}, 404);
}

/// Answers after `ms`, or at once when cancelled.
void FakeService::slow(const Json& params, Responder responder) {
  const auto held = std::make_shared<Responder>(std::move(responder));
  const auto answer = [this, held](const char* how) {
    if (!*held) return;
    ++finished;
    std::move(*held).result(Json{{"finish_reason", how}});
  };
  held->on_cancel([this, answer](rpc::CancelCause) {
    ++cancels;
    answer("cancelled");
  });
  server_.after(std::chrono::milliseconds(number(params, "ms", 50)), [answer] { answer("done"); });
}

/// `count` notifications of `bytes` each, `interval_ms` apart (0: as fast as the reader takes them), then the answer.
void FakeService::stream(const Json& params, Responder responder) {
  const auto stream = std::make_shared<Stream>();
  stream->responder = std::move(responder);
  stream->left = number(params, "count", 3);
  stream->interval_ms = number(params, "interval_ms", 0);
  stream->text.assign(static_cast<size_t>(number(params, "bytes", 1)), 't');
  stream->responder.on_cancel([this, stream](rpc::CancelCause) {
    ++cancels;
    stream->left = 0;
    if (stream->waiting) step(stream);
  });
  stream->responder.on_drained([this, stream] {
    if (stream->waiting) step(stream);
  });
  step(stream);
}

void FakeService::step(const std::shared_ptr<Stream>& stream) {
  stream->waiting = false;
  if (stream->ended) return;
  if (stream->left == 0) {
    stream->ended = true;
    ++finished;
    auto responder = std::move(stream->responder);
    return responder.result(Json{{"sent", stream->sent}});
  }
  if (stream->responder.congested()) {
    ++paused;
    stream->waiting = true;
    return;
  }
  --stream->left;
  stream->responder.notify("stream/delta", Json{{"index", stream->sent++}, {"text", stream->text}});
  if (stream->interval_ms == 0) return server_.post([this, stream] { step(stream); });
  server_.after(std::chrono::milliseconds(stream->interval_ms), [this, stream] { step(stream); });
}

}  // namespace kvasir::test
