#include "mcp/app/front/client_state.h"

#include <utility>

#include "rpc/parse.h"

namespace kvasir::app {
namespace {

using rpc::Json;

/// Our own host's answers, which may have more values than a client may send.
constexpr rpc::Limits kAnswerLimits{.max_message_bytes = size_t{1} << 30, .max_values = UINT32_MAX};
constexpr std::string_view kOwnId = "kvasir-front-end-introduction";

/// `1` and `1.0` stay apart, `"a"` and `"\u0061"` do not.
std::string key_of(std::string_view raw_id, const rpc::Limits& limits) {
  auto parsed = rpc::parse_json(raw_id, limits);
  return parsed ? rpc::dump(*parsed) : std::string(raw_id);
}

bool is_answer(const Json& message) {
  return message.is_object() && message.contains("id") && !message.contains("method");
}

}  // namespace

ClientState::ClientState(mcp::Greeting::Speaks speaks) : mcp_(speaks == mcp::Greeting::Speaks::kMcp) {}

void ClientState::client_said(std::string_view text) {
  const rpc::Service::Rules rules{.mcp_ids = mcp_, .answer_cancelled = !mcp_, .dollar_cancel = !mcp_};
  // Wrong messages are the host's to answer; here they only must not be waited for.
  const auto parsed = rpc::parse_text(text, limits_, rules, [](const Json&) { return true; });
  for (const auto& message : parsed.messages) {
    if (const auto* request = std::get_if<rpc::Request>(&message)) note(*request, text);
  }
}

void ClientState::note(const rpc::Request& request, std::string_view text) {
  if (request.id.present()) {
    waiting_.insert_or_assign(key_of(request.id.text, limits_), request.id);
    if (!mcp_ || request.method != "initialize") return;
    auto copy = rpc::parse_json(text, limits_, true);
    if (!copy || !copy->is_object()) return;
    (*copy)["id"] = kOwnId;
    initialize_ = rpc::dump(*copy);
  } else if (mcp_ && request.method == "notifications/initialized") {
    initialized_ = true;
  } else if (mcp_ && request.method == "notifications/cancelled" && request.params && request.params->is_object()) {
    // MCP answers a cancelled request with silence.
    if (const auto id = request.params->find("requestId"); id != request.params->end()) waiting_.erase(rpc::dump(*id));
  }
}

bool ClientState::host_said(std::string_view text) {
  if (waiting_.empty() && !introducing_) return true;
  const auto parsed = rpc::parse_json(text, kAnswerLimits, true);
  if (!parsed) return true;
  if (parsed->is_array()) {
    for (const auto& message : *parsed)
      if (is_answer(message)) waiting_.erase(rpc::dump(message.at("id")));
    return true;
  }
  if (!is_answer(*parsed)) return true;
  const Json& id = parsed->at("id");
  if (introducing_ && id.is_string() && id.get<std::string>() == kOwnId) {
    introducing_ = false;
    return false;
  }
  waiting_.erase(rpc::dump(id));
  return true;
}

std::vector<std::string> ClientState::host_lost() {
  std::vector<std::string> out;
  const rpc::RpcError error{rpc::kEngineRestarted,
                            "the kvasir host of this user ended while it worked on this request; ask again, the next "
                            "request starts another (what sessions had acknowledged is kept)",
                            Json{{"code", "engine_restarted"}}};
  for (const auto& [key, id] : std::exchange(waiting_, {})) out.push_back(rpc::error_text(id, error, mcp_));
  introducing_ = false;
  return out;
}

std::vector<std::string> ClientState::introduction() {
  if (initialize_.empty()) return {};
  introducing_ = true;
  std::vector<std::string> out{initialize_};
  if (initialized_) out.push_back(R"({"jsonrpc":"2.0","method":"notifications/initialized"})");
  return out;
}

std::string ClientState::refusal(const rpc::RpcError& error) const {
  return rpc::error_text({}, error, mcp_);
}

}  // namespace kvasir::app
