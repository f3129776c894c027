// The list of tools as clients see it, and results that stay small.
#include <catch2/catch.hpp>
#include <string>

#include "mcp/server.h"
#include "mcp/tools/generation_tools.h"
#include "mcp/tools/model_tools.h"
#include "mcp/tools/tool.h"
#include "rpc/message.h"

using namespace kvasir;
using namespace kvasir::mcp;

namespace {

/// Why clients would choke on a schema (protocol.md §12), or nothing.
std::string lint(const Json& schema, const std::string& path) {
  static const std::vector<std::string> kAllowed = {"type", "properties", "required", "description",
                                                    "enum", "minimum",    "maximum",  "items"};
  if (!schema.is_object()) return path + ": not an object";
  for (const auto& [key, value] : schema.items())
    if (std::find(kAllowed.begin(), kAllowed.end(), key) == kAllowed.end()) return path + ": keyword " + key;
  if (!schema.contains("type") || !schema["type"].is_string()) return path + ": no single type";
  const std::string type = schema["type"];
  if (type == "array" && !schema.contains("items")) return path + ": array without items";
  if (schema.contains("items"))
    if (auto wrong = lint(schema["items"], path + "[]"); !wrong.empty()) return wrong;
  if (!schema.contains("properties")) return "";
  for (const auto& [name, property] : schema["properties"].items())
    if (auto wrong = lint(property, path + "." + name); !wrong.empty()) return wrong;
  return "";
}

bool is_tool_name(const std::string& name) {
  return !name.empty() && name.size() <= 40 &&
         name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == std::string::npos;
}

}  // namespace

TEST_CASE("tools have a fixed order and names that every client takes") {
  const ToolSet tools;
  std::vector<std::string> names;
  for (const auto& tool : tools.all())
    if (tool.over_mcp) names.push_back(tool.name);
  CHECK(names == std::vector<std::string>{"generate_text", "count_tokens", "score_text", "get_model_info",
                                          "create_session", "get_session", "list_sessions", "fork_session",
                                          "rewind_session", "checkpoint_session", "restore_session", "delete_session",
                                          "compress_session"});
  for (const auto& tool : tools.all()) CHECK(is_tool_name(tool.name));
  CHECK(tools.find("tokenize") != nullptr);
  CHECK(tools.find("embed") == nullptr);
}

TEST_CASE("schemas are flat objects without what some clients refuse") {
  const ToolSet tools;
  for (const auto& tool : tools.all()) {
    CHECK(lint(tool.input_schema, tool.name) == "");
    CHECK(tool.input_schema["type"] == "object");
    for (const auto& [name, property] : tool.input_schema["properties"].items()) {
      INFO(tool.name << "." << name);
      CHECK_FALSE(property["description"].get<std::string>().empty());
    }
    if (!tool.over_mcp) continue;
    CHECK(lint(tool.output_schema, tool.name) == "");
    CHECK(tool.output_schema["type"] == "object");
    CHECK_FALSE(tool.description.empty());
    CHECK_FALSE(tool.title.empty());
  }
}

TEST_CASE("the lint would notice") {
  CHECK(lint(Json{{"type", "object"}, {"oneOf", Json::array()}}, "t") != "");
  CHECK(lint(Json{{"type", "array"}}, "t") != "");
  CHECK(lint(Json{{"type", Json::array({"string", "null"})}}, "t") != "");
  CHECK(lint(Json{{"type", "object"}, {"properties", {{"a", {{"type", "string"}, {"default", "x"}}}}}}, "t") != "");
}

TEST_CASE("the list of tools stays small in an assistant's context") {
  const ToolSet tools;
  RequestContext context;
  context.version = kLegacyVersions.front();
  size_t bytes = 0;
  for (const auto& tool : tools.all())
    if (tool.over_mcp) bytes += rpc::dump(tool_definition(tool, context)).size();
  CHECK(bytes < 23'500);
}

TEST_CASE("defaults and bounds stand in the schema") {
  const ToolSet tools;
  const Json& properties = tools.find("generate_text")->input_schema["properties"];
  CHECK_THAT(properties["max_tokens"]["description"].get<std::string>(), Catch::Contains("Default 100."));
  CHECK(properties["max_tokens"]["minimum"] == 0);
  CHECK(properties["logprobs"]["maximum"] == 20);
  CHECK(properties.contains("session_id"));
  CHECK_FALSE(properties.contains("stream"));
}

TEST_CASE("a result that clients could not take is cut and says so") {
  GenerateResult result;
  result.text = std::string(kMaxResultBytes, 'x');
  result.tokens.assign(1000, 7);
  const Json cut = to_json(result);
  CHECK(rpc::dump(cut).size() <= kMaxResultBytes);
  CHECK(cut["cut"] == true);
  CHECK_FALSE(cut.contains("tokens"));
  CHECK_FALSE(cut["text"].get<std::string>().empty());

  GenerateResult wide;
  for (int i = 0; i < 700'000; ++i) wide.text += "🦊";
  wide.text += std::string(kMaxResultBytes, '\x01');
  const Json wide_cut = to_json(wide);
  CHECK(rpc::dump(wide_cut).size() <= kMaxResultBytes);
  const auto text = wide_cut["text"].get<std::string>();
  CHECK(text == wide.text.substr(0, text.size()));
  CHECK((text.back() == '\x01' || text.size() % 4 == 0));  // no half fox

  ScoreResult score;
  score.tokens.assign(400'000, 1234);
  score.logprobs.assign(400'000, -1.2345F);
  score.nll = 5;
  const Json score_cut = to_json(score);
  CHECK(rpc::dump(score_cut).size() <= kMaxResultBytes);
  CHECK(score_cut["cut"] == true);
  CHECK(score_cut["nll"] == 5.0);
  CHECK_FALSE(to_json(GenerateResult{}).contains("cut"));
}

TEST_CASE("bytes that are no text never break a message (J20)") {
  GenerateResult result;
  result.text = "ok\xff\xed\xa0\x80";
  result.timings.decode_ms = std::numeric_limits<double>::quiet_NaN();
  const std::string text = rpc::dump(to_json(result));
  CHECK_FALSE(Json::parse(text, nullptr, false).is_discarded());
  CHECK(text.find('\xff') == std::string::npos);
}

TEST_CASE("logit digests are text: they use all 64 bits") {
  GenerateResult result;
  result.logit_digests = {0x0123456789abcdefULL, UINT64_MAX};
  CHECK(to_json(result)["logit_digests"] == Json::array({"0123456789abcdef", "ffffffffffffffff"}));
}
