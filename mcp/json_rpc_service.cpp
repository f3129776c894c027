#include "mcp/json_rpc_service.h"

#include <utility>

#include "mcp/error_mapping.h"
#include "mcp/server.h"

namespace kvasir::mcp {
namespace {

class PlainCall final : public ToolCall {
 public:
  PlainCall(const CallServices& services, const Tool& tool, const rpc::CallInfo& info, const rpc::MessageId& id,
            bool stream, rpc::Responder reply)
      : ToolCall(services, tool, info.transport, info.principal, std::move(reply)),
        request_id_(stream ? Json::parse(id.text, nullptr, false) : Json()),
        stream_(stream) {}

  void delta(const TextDelta& delta) override {
    if (!stream_ || !reply_) return;
    notify(tool_.name + "/delta", Json{{"id", request_id_}, {"text", delta.text}, {"index", index_++}});
  }
  void refuse(const Error& error, uint64_t retry_after_ms) override {
    if (!reply_) return;
    const auto wire = to_wire(error, retry_after_ms);
    auto reply = std::move(reply_);
    reply.error(wire.error, wire.http_status);
  }

 private:
  void answer(Json result) override {
    if (!reply_) return;
    auto reply = std::move(reply_);
    reply.result(result);
  }
  void cancelled() override {}  // the engine's last event brings the answer: decisions.md 25

  Json request_id_;
  bool stream_;
  uint64_t index_ = 0;
};

}  // namespace

JsonRpcService::JsonRpcService(const CallServices& services, const ToolSet& tools, EngineKey default_engine)
    : services_(services), default_engine_(std::move(default_engine)) {
  for (const auto& tool : tools.all())
    router_.add(tool.name, [this, &tool](const rpc::CallInfo& info, const Json& params, const rpc::MessageId& id,
                                         rpc::Responder reply) { run(tool, info, params, id, std::move(reply)); });
}

std::unique_ptr<rpc::ConnectionState> JsonRpcService::connect(const rpc::CallInfo& info) {
  return make_connection(info, default_engine_);
}

void JsonRpcService::call(rpc::Request request, const rpc::CallInfo& info, rpc::Responder reply) {
  router_.call(std::move(request), info, std::move(reply));
}

bool JsonRpcService::accepts_batch(const Json& array, const rpc::CallInfo& info) {
  return router_.accepts_batch(array, info);
}

void JsonRpcService::run(const Tool& tool, const rpc::CallInfo& info, const Json& params, const rpc::MessageId& id,
                         rpc::Responder reply) {
  auto parsed = tool.parse(params.is_null() ? Json::object() : params);
  if (!parsed) {
    const auto wire = to_wire(parsed.error());
    return reply.error(wire.error, wire.http_status);
  }
  const Connection* connection = connection_of(info);
  const auto call = std::make_shared<PlainCall>(services_, tool, info, id, parsed->stream, std::move(reply));
  call->start(connection != nullptr ? connection->engine : default_engine_, std::move(*parsed));
}

}  // namespace kvasir::mcp
