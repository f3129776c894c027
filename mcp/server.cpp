#include "mcp/server.h"

#include <utility>

#include "mcp/mcp_call.h"

namespace kvasir::mcp {
namespace {

constexpr const char* kInstructions =
    "Kvasir runs a language model on this machine. generate_text answers a prompt or a conversation; give a progress "
    "token to see the text as it is written, or max_time_ms to get what is there after that time. The first call loads "
    "the model, which can take a while. count_tokens, score_text and get_model_info only look. create_session gives a "
    "conversation that outlives this process: pass its session_id to generate_text, fork or rewind it at any turn.";

/// What a claim-less request before `initialize` is taken to speak (protocol.md §2: served on stdio and WebSocket).
constexpr std::string_view kAssumedVersion = kLegacyVersions.front();

std::string_view legacy_version_of(const rpc::CallInfo& info) {
  const Connection* connection = connection_of(info);
  return connection != nullptr && !connection->legacy_version.empty() ? std::string_view(connection->legacy_version)
                                                                      : kAssumedVersion;
}

}  // namespace

Connection* connection_of(const rpc::CallInfo& info) {
  return dynamic_cast<Connection*>(info.connection);
}

McpServer::McpServer(const CallServices& services, const ToolSet& tools, EngineKey default_engine, std::string version)
    : services_(services), tools_(tools), default_engine_(std::move(default_engine)) {
  const ServerFacts facts{"kvasir", std::move(version), kInstructions};
  legacy_ = make_dialect_2025_11_25(facts);
  modern_ = make_dialect_2026_07_28(facts);
}

rpc::Service::Rules McpServer::rules() const {
  return {.mcp_ids = true, .answer_cancelled = false, .dollar_cancel = false};
}

std::unique_ptr<rpc::ConnectionState> McpServer::connect(const rpc::CallInfo& info) {
  return make_connection(info, default_engine_);
}

bool McpServer::accepts_batch(const Json& array, const rpc::CallInfo& info) {
  // Only 2025-03-26 has batches, and a message that speaks for itself is never part of one.
  if (legacy_version_of(info) != "2025-03-26") return false;
  for (const auto& message : array)
    if (has_modern_claim(message)) return false;
  return true;
}

void McpServer::call(rpc::Request request, const rpc::CallInfo& info, rpc::Responder reply) {
  const auto chosen = choose_era(request, info.headers);
  if (const auto* refusal = std::get_if<Refusal>(&chosen)) return reply.error(refusal->error, refusal->http_status);
  dispatch(std::get<Era>(chosen), request, info, std::move(reply));
}

void McpServer::dispatch(Era era, const rpc::Request& request, const rpc::CallInfo& info, rpc::Responder reply) {
  auto read = read_context(request, era, legacy_version_of(info));
  if (const auto* refusal = std::get_if<Refusal>(&read)) return reply.error(refusal->error, refusal->http_status);
  auto& context = std::get<RequestContext>(read);
  context.transport = info.transport;
  if (request.method == "tools/list") return list_tools(request, context, std::move(reply));
  if (request.method == "tools/call") return call_tool(request, info, context, std::move(reply));
  if (request.method == "initialize" && info.in_batch)  // MCP 2025-03-26 basic/lifecycle: never part of a batch
    return reply.error({rpc::kInvalidRequest, "initialize must not be part of a batch", std::nullopt}, 400);
  if (dialect(era).answer(request, connection_of(info), reply)) return;
  reply.error({rpc::kMethodNotFound, "Method not found: " + shown_name(request.method), std::nullopt},
              era == Era::kModern ? 404 : 200);
}

Json tool_definition(const Tool& tool, const RequestContext& context) {
  Json out{{"name", tool.name}};
  if (context.since("2025-06-18")) out["title"] = tool.title;
  out["description"] = tool.description;
  out["inputSchema"] = tool.input_schema;
  if (context.since("2025-06-18")) out["outputSchema"] = tool.output_schema;
  if (context.since("2025-03-26"))
    out["annotations"] = Json{{"title", tool.title},
                              {"readOnlyHint", tool.hints.read_only},
                              {"destructiveHint", tool.hints.destructive},
                              {"idempotentHint", tool.hints.idempotent},
                              {"openWorldHint", false}};
  return out;
}

void McpServer::list_tools(const rpc::Request& request, const RequestContext& context, rpc::Responder reply) {
  if (request.params && request.params->contains("cursor"))
    return reply.error({rpc::kInvalidParams, "params.cursor is none of ours: the list has one page", std::nullopt});
  Json list = Json::array();
  for (const auto& tool : tools_.all())
    if (tool.over_mcp) list.push_back(tool_definition(tool, context));
  reply.result(dialect(context.era).complete(Json{{"tools", std::move(list)}}, Caching::kStatic));
}

void McpServer::call_tool(const rpc::Request& request, const rpc::CallInfo& info, const RequestContext& context,
                          rpc::Responder reply) {
  const auto wrong = [&](std::string message) { reply.error({rpc::kInvalidParams, std::move(message), std::nullopt}); };
  if (!request.params || !request.params->contains("name") || !(*request.params)["name"].is_string())
    return wrong("params.name must be the name of a tool");
  const auto& name = (*request.params)["name"].get_ref<const std::string&>();
  const Tool* tool = tools_.find(name);
  if (tool == nullptr || !tool->over_mcp) return wrong("Unknown tool: " + shown_name(name));
  const auto arguments = request.params->find("arguments");
  if (arguments != request.params->end() && !arguments->is_object()) return wrong("params.arguments must be an object");

  const auto call = std::make_shared<McpCall>(services_, *tool, dialect(context.era), context, info.principal, std::move(reply));
  auto parsed = tool->parse(arguments == request.params->end() ? Json::object() : *arguments);
  if (!parsed) return call->refuse(parsed.error(), 0);
  const Connection* connection = connection_of(info);
  call->run(connection != nullptr ? connection->engine : default_engine_, std::move(*parsed));
}

}  // namespace kvasir::mcp
