#include "mcp/app/session_file.h"

#include <chrono>
#include <limits>

namespace kvasir::app {
namespace {

using rpc::Json;

constexpr const char* kFormat = "kvasir-session";
constexpr int64_t kVersion = 1;

Failure wrong(const std::string& what) {
  return {Code::kInvalidArgument, "this is no exported session: " + what};
}

/// A member of the wanted kind, or its absence as the default.
Result<std::string> text_of(const Json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end()) return std::string();
  if (!found->is_string()) return wrong(std::string(name) + " is not a text");
  return found->get<std::string>();
}
Result<int64_t> whole_of(const Json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end()) return int64_t{0};
  if (!found->is_number_integer() || *found < 0 || *found > std::numeric_limits<int64_t>::max()) {
    return wrong(std::string(name) + " is not a whole number");
  }
  return found->get<int64_t>();
}

Result<Turn> turn_of(const Json& json) {
  if (!json.is_object()) return wrong("a turn is not an object");
  Turn turn;
  turn.role = KVASIR_TRY(text_of(json, "role"));
  bool known = false;
  for (const char* role : {"system", "user", "assistant", "tool", "compression"}) known = known || turn.role == role;
  if (!known) return wrong("a turn has the role '" + turn.role + "'");
  turn.content = KVASIR_TRY(text_of(json, "content"));
  turn.message_json = KVASIR_TRY(text_of(json, "message"));
  turn.rendered = KVASIR_TRY(text_of(json, "rendered"));
  turn.parameters_json = KVASIR_TRY(text_of(json, "parameters"));
  turn.whole = json.contains("whole") && json["whole"] == true;
  if (!json.contains("tokens")) return turn;
  if (!json["tokens"].is_array()) return wrong("tokens is not a list");
  for (const auto& token : json["tokens"]) {
    if (!token.is_number_integer() || token < 0 || token > std::numeric_limits<TokenId>::max()) {
      return wrong("a token is not a token id");
    }
    turn.tokens.push_back(token.get<TokenId>());
  }
  return turn;
}

}  // namespace

Json session_to_json(const SessionRecord& session, const std::vector<Turn>& turns) {
  Json list = Json::array();
  for (const auto& turn : turns) {
    Json entry{{"role", turn.role}, {"content", turn.content}, {"tokens", turn.tokens}, {"rendered", turn.rendered}};
    if (!turn.message_json.empty()) entry["message"] = turn.message_json;
    if (!turn.parameters_json.empty()) entry["parameters"] = turn.parameters_json;
    if (turn.whole) entry["whole"] = true;
    list.push_back(std::move(entry));
  }
  return Json{{"format", kFormat},
              {"version", kVersion},
              {"title", session.title},
              {"model", session.model},
              {"fingerprint", session.fingerprint},
              {"overflow", session.overflow},
              {"ttl_seconds", session.ttl_seconds},
              {"turns", std::move(list)}};
}

Result<ImportedSession> session_from_json(const Json& json) {
  if (!json.is_object() || json.value("format", Json()) != kFormat) return wrong("its format is not kvasir-session");
  const int64_t version = KVASIR_TRY(whole_of(json, "version"));
  if (version > kVersion) {
    return Failure{Code::kUnsupported, "exported by a newer kvasir (version " + std::to_string(version) + ")"};
  }
  ImportedSession out;
  out.session.title = KVASIR_TRY(text_of(json, "title"));
  out.session.model = KVASIR_TRY(text_of(json, "model"));
  out.session.fingerprint = KVASIR_TRY(text_of(json, "fingerprint"));
  out.session.overflow = KVASIR_TRY(text_of(json, "overflow"));
  bool known = false;
  for (const char* policy : {"error", "truncate_oldest", "sliding_window", "compress"})
    known = known || out.session.overflow == policy;
  if (!known) return wrong("overflow is '" + out.session.overflow + "'");
  out.session.ttl_seconds = static_cast<uint64_t>(KVASIR_TRY(whole_of(json, "ttl_seconds")));
  if (!json.contains("turns") || !json["turns"].is_array()) return wrong("turns is not a list");
  for (const auto& turn : json["turns"]) out.turns.push_back(KVASIR_TRY(turn_of(turn)));
  return out;
}

int64_t now_ms() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

}  // namespace kvasir::app
