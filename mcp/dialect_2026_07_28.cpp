// MCP 2026-07-28: no handshake, discovery instead, every result says its type. MCP 2026-07-28 basic, server/discover.
#include "mcp/dialect.h"

namespace kvasir::mcp {
namespace {

constexpr int kStaticTtlMs = 3'600'000;  // our lists never change while the process lives
constexpr const char* kSubscriptionKey = "io.modelcontextprotocol/subscriptionId";

class ModernDialect final : public Dialect {
 public:
  explicit ModernDialect(ServerFacts facts) : facts_(std::move(facts)) {}

  bool answer(const rpc::Request& request, Connection*, rpc::Responder& reply) const override {
    if (request.method == "server/discover") {
      discover(reply);
      return true;
    }
    if (request.method != "subscriptions/listen") return false;
    listen(request, reply);
    return true;
  }

  Json complete(Json result, Caching caching) const override {
    Json out{{"resultType", "complete"}};
    out.update(result);
    if (caching == Caching::kStatic) {
      out["ttlMs"] = kStaticTtlMs;
      out["cacheScope"] = "public";
    }
    out["_meta"]["io.modelcontextprotocol/serverInfo"] = Json{{"name", facts_.name}, {"version", facts_.version}};
    return out;
  }

 private:
  void discover(rpc::Responder& reply) const {
    Json result;
    result["supportedVersions"] = Json::array({std::string(kModernVersion)});
    result["capabilities"] = Json{{"tools", Json::object()}};
    result["instructions"] = facts_.instructions;
    reply.result(complete(std::move(result), Caching::kStatic));
  }

  /// The list of tools is static, so nothing that can be subscribed to is honoured: acknowledged, then over at once.
  void listen(const rpc::Request& request, rpc::Responder& reply) const {
    const auto wanted = request.params->find("notifications");
    if (wanted == request.params->end() || !wanted->is_object())
      return reply.error({rpc::kInvalidParams, "params.notifications must be an object", std::nullopt});
    const Json id = Json::parse(request.id.text, nullptr, false);
    Json acknowledged{{"notifications", Json::object()}};
    acknowledged["_meta"][kSubscriptionKey] = id;
    reply.notify("notifications/subscriptions/acknowledged", acknowledged);
    Json result = Json::object();
    result["_meta"][kSubscriptionKey] = id;
    reply.result(complete(std::move(result), Caching::kNone));
  }

  ServerFacts facts_;
};

}  // namespace

std::unique_ptr<Dialect> make_dialect_2026_07_28(ServerFacts facts) {
  return std::make_unique<ModernDialect>(std::move(facts));
}

}  // namespace kvasir::mcp
