// MCP 2025-11-25 and older: a handshake per connection, free-form results. MCP 2025-11-25 basic/lifecycle.
#include "mcp/dialect.h"

namespace kvasir::mcp {
namespace {

class LegacyDialect final : public Dialect {
 public:
  explicit LegacyDialect(ServerFacts facts) : facts_(std::move(facts)) {}

  bool answer(const rpc::Request& request, Connection* connection, rpc::Responder& reply) const override {
    if (request.method == "ping") {
      reply.result(Json::object());
      return true;
    }
    if (request.method != "initialize") return false;
    initialize(request, connection, reply);
    return true;
  }

  Json complete(Json result, Caching) const override { return result; }

 private:
  void initialize(const rpc::Request& request, Connection* connection, rpc::Responder& reply) const {
    const auto wrong = [&](const char* message) { reply.error({rpc::kInvalidParams, message, std::nullopt}, 400); };
    if (!request.params || !request.params->is_object())
      return wrong("initialize needs params {protocolVersion, capabilities, clientInfo}");
    const auto version = request.params->find("protocolVersion");
    if (version == request.params->end() || !version->is_string())
      return wrong("params.protocolVersion must be a string");
    // "If the server supports the requested version, it MUST respond with the same version"; else with its latest.
    const auto& requested = version->get_ref<const std::string&>();
    const std::string agreed = is_legacy_version(requested) ? requested : std::string(kLegacyVersions.front());
    if (connection != nullptr) connection->legacy_version = agreed;
    Json result;
    result["protocolVersion"] = agreed;
    result["capabilities"] = Json{{"tools", Json::object()}};
    result["serverInfo"] = Json{{"name", facts_.name}, {"version", facts_.version}};
    result["instructions"] = facts_.instructions;
    reply.result(result);
  }

  ServerFacts facts_;
};

}  // namespace

std::unique_ptr<Dialect> make_dialect_2025_11_25(ServerFacts facts) {
  return std::make_unique<LegacyDialect>(std::move(facts));
}

}  // namespace kvasir::mcp
