// The field tables: schemas, parsing, bounds and messages (reliability.md A1-A12).
#include "mcp/tools/schema.h"

#include <catch2/catch.hpp>
#include <string>

#include "mcp/tools/generation_tools.h"
#include "rpc/limits.h"
#include "rpc/parse.h"

using namespace kvasir;
using namespace kvasir::mcp;

namespace {

Json json(const std::string& text) {
  return *rpc::parse_json(text, rpc::Limits{});
}

Result<Generate> generate(const std::string& params) {
  auto args = generate_fields().parse(json(params));
  if (!args) return Failure(args.error());
  return to_command(std::move(*args));
}

std::string message(const std::string& params) {
  const auto result = generate(params);
  return result ? "accepted" : result.error().message;
}

bool refused(const std::string& arguments) {
  return !generate(R"({"prompt":"x",)" + arguments + "}");
}
bool accepted(const std::string& arguments) {
  return !refused(arguments);
}

}  // namespace

TEST_CASE("arguments arrive with their defaults") {
  const auto plain = generate(R"({"prompt":"hi"})");
  REQUIRE(plain);
  CHECK(plain->max_tokens == 100);
  CHECK(plain->max_time_ms == 0);
  CHECK_FALSE(plain->sampling.temperature);
  CHECK_FALSE(plain->sampling.seed);
  CHECK_FALSE(plain->want_logprobs);
  CHECK(plain->prompt.kind == Prompt::Kind::kMessages);
  REQUIRE(plain->prompt.messages.size() == 1);
  CHECK(plain->prompt.messages[0].role == "user");
  CHECK(plain->prompt.messages[0].content == "hi");
}

TEST_CASE("every argument of generate_text reaches the command") {
  const auto command = generate(R"({"prompt":"p","raw":true,"max_tokens":5,"temperature":0.5,"top_k":3,"top_p":0.9,
    "min_p":0.1,"repeat_penalty":1.1,"frequency_penalty":0.2,"presence_penalty":-0.3,"logit_bias":[[5,-100],[7,1.5]],
    "seed":18446744073709551615,"stop":["\n","END"],"max_time_ms":250,"logprobs":4,"return_tokens":true,
    "ignore_eos":true,"digest_logits":true})");
  REQUIRE(command);
  CHECK(command->prompt.kind == Prompt::Kind::kText);
  CHECK(command->prompt.text == "p");
  CHECK(command->max_tokens == 5);
  CHECK(command->sampling.temperature == Approx(0.5F));
  CHECK(command->sampling.top_k == 3U);
  CHECK(command->sampling.top_p == Approx(0.9F));
  CHECK(command->sampling.min_p == Approx(0.1F));
  CHECK(command->sampling.repeat_penalty == Approx(1.1F));
  CHECK(command->sampling.frequency_penalty == Approx(0.2F));
  CHECK(command->sampling.presence_penalty == Approx(-0.3F));
  REQUIRE(command->sampling.logit_bias.size() == 2);
  CHECK(command->sampling.logit_bias[1] == std::pair<TokenId, float>(7, 1.5F));
  CHECK(command->sampling.seed == UINT64_MAX);
  CHECK(command->stop == std::vector<std::string>{"\n", "END"});
  CHECK(command->max_time_ms == 250);
  CHECK(command->logprobs == 4);
  CHECK(command->want_logprobs);
  CHECK(command->return_tokens);
  CHECK(command->ignore_eos);
  CHECK(command->digest_logits);
}

TEST_CASE("A1: numbers of the wrong kind or size are refused, each with its neighbour accepted") {
  CHECK(message(R"({"prompt":"x","max_tokens":-2})") == "max_tokens must be an integer from 0 to 1000000, got -2");
  CHECK(refused(R"("max_tokens":2147483648)"));
  CHECK(refused(R"("max_tokens":1000001)"));
  CHECK(accepted(R"("max_tokens":1000000)"));
  CHECK(refused(R"("max_tokens":"5")"));
  CHECK(refused(R"("max_tokens":1.5)"));
  CHECK(accepted(R"("max_tokens":5.0)"));
  CHECK(refused(R"("max_tokens":null)"));
  CHECK(accepted(R"("max_tokens":0)"));
  CHECK(refused(R"("seed":18446744073709551616)"));
  CHECK(accepted(R"("seed":18446744073709551615)"));
  CHECK(refused(R"("seed":-1)"));
  CHECK(refused(R"("max_time_ms":0)"));
  CHECK(accepted(R"("max_time_ms":1)"));
}

TEST_CASE("A6: sampling parameters outside their range are refused") {
  for (const char* bad :
       {R"("temperature":"NaN")", R"("temperature":-1)", R"("temperature":1e308)", R"("temperature":true)",
        R"("top_p":-1)", R"("top_p":2)", R"("top_k":-5)", R"("repeat_penalty":0)", R"("min_p":9)"})
    CHECK(refused(bad));
  for (const char* good : {R"("temperature":0)", R"("temperature":100)", R"("top_p":0)", R"("top_p":1)", R"("top_k":0)",
                           R"("repeat_penalty":1)", R"("min_p":1)"})
    CHECK(accepted(good));
}

TEST_CASE("A7-A9: lists are bounded in number, size and kind") {
  CHECK(refused(R"("logit_bias":[[-1,1]])"));
  CHECK(refused(R"("logit_bias":[[1,1e308]])"));
  CHECK(refused(R"("logit_bias":[[1]])"));
  CHECK(refused(R"("logit_bias":{"1":2})"));
  std::string pairs = "[0,1]";
  for (int i = 1; i < 4096; ++i) pairs += ",[0,1]";
  CHECK(accepted("\"logit_bias\":[" + pairs + "]"));
  CHECK(refused("\"logit_bias\":[" + pairs + ",[0,1]]"));

  CHECK(message(R"({"tokens":[1,-1]})") == "tokens[1] must be an integer of at least 0, got -1");
  CHECK(message(R"({"tokens":[2147483648]})") != "accepted");
  CHECK(message(R"({"tokens":[2147483647]})") == "accepted");
  CHECK(message(R"({"tokens":[]})") != "accepted");
  CHECK(message(R"({"prompt":""})") == "accepted");

  CHECK(refused(R"("stop":[""])"));
  CHECK(refused(R"("stop":"x")"));
  CHECK(accepted("\"stop\":[\"" + std::string(4096, 'x') + "\"]"));
  CHECK(refused("\"stop\":[\"" + std::string(4097, 'x') + "\"]"));
  std::string stops = "\"x\"";
  for (int i = 1; i < 64; ++i) stops += ",\"x\"";
  CHECK(accepted("\"stop\":[" + stops + "]"));
  CHECK(refused("\"stop\":[" + stops + ",\"x\"]"));
  CHECK(refused(R"("logprobs":-1)"));
  CHECK(refused(R"("logprobs":21)"));
  CHECK(accepted(R"("logprobs":20)"));
}

TEST_CASE("A12: unknown names, wrong types in depth and missing members name the path") {
  CHECK_THAT(message(R"({"prompt":"x","max_token":5})"), Catch::Contains("did you mean max_tokens?"));
  CHECK_THAT(message(R"({"prompt":"x","session":"s"})"), Catch::Contains("unknown argument"));
  CHECK(message(R"({"messages":[{"role":"user","content":"a"},{"role":"user","content":5}]})") ==
        "messages[1].content must be a string, got 5");
  CHECK_THAT(message(R"({"messages":[{"role":"user"}]})"), Catch::Contains("messages[0].content is missing"));
  CHECK_THAT(message(R"({"messages":[{"role":"user","content":"a","contet":"b"}]})"), Catch::Contains("messages[0]"));
  CHECK_THAT(message(R"({"messages":["x"]})"), Catch::Contains("messages[0] must be an object"));
  CHECK_THAT(message(R"({"messages":{}})"), Catch::Contains("messages must be an array"));
}

TEST_CASE("a long wrong value is cut between code points in the message") {
  std::string value;
  for (int i = 0; i < 100; ++i) value += "ø";
  const auto text = message(R"({"prompt":"x","max_tokens":")" + value + "\"}");
  CHECK(text.size() < 120);
  CHECK_THAT(text, Catch::EndsWith("ø..."));
}

TEST_CASE("what is for the chat template arrives as it was given") {
  const auto command = generate(R"({"prompt":"hi","enable_thinking":false,"chat_template_kwargs":{"reasoning_effort":"low"},
    "tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}]})");
  REQUIRE(command);
  CHECK(command->prompt.enable_thinking == false);
  CHECK(json(command->prompt.template_extra_json) == json(R"({"reasoning_effort":"low"})"));
  CHECK(json(command->prompt.tools_json)[0]["function"]["name"] == "f");
  CHECK_FALSE(generate(R"({"prompt":"hi"})")->prompt.enable_thinking);
  CHECK(refused(R"("tools":{})"));
  CHECK(message(R"({"prompt":"hi","tools":["f"]})") == "tools[0] must be an object, got \"f\"");
  CHECK(refused(R"("enable_thinking":"no")"));
  CHECK(refused(R"("chat_template_kwargs":[])"));
  for (const char* given : {R"("tools":[])", R"("enable_thinking":true)", R"("chat_template_kwargs":{})"}) {
    CHECK_THAT(message(std::string(R"({"prompt":"a","raw":true,)") + given + "}"), Catch::Contains("chat template"));
    CHECK_THAT(message(std::string(R"({"tokens":[1],)") + given + "}"), Catch::Contains("chat template"));
    auto in_session = generate_fields().parse(json(std::string(R"({"session_id":"s_1",)") + given + "}"));
    REQUIRE(in_session);
    const auto request = to_request(std::move(*in_session));
    REQUIRE_FALSE(request);
    CHECK_THAT(request.error().message, Catch::Contains("prompt or messages"));
  }
}

TEST_CASE("messages may carry calls to tools and their results") {
  const auto command = generate(R"({"messages":[{"role":"user","content":"u"},
    {"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},
    {"role":"assistant","tool_calls":[{"name":"g","arguments":"no json"}]},
    {"role":"tool","content":"r","tool_call_id":"1"}]})");
  REQUIRE(command);
  const auto& messages = command->prompt.messages;
  REQUIRE(messages.size() == 4);
  CHECK(messages[0].json.empty());
  CHECK(messages[1].content.empty());
  CHECK(json(messages[1].json)["tool_calls"][0]["function"]["arguments"] == json(R"({"a":1})"));
  CHECK(json(messages[1].json)["content"].is_null());
  CHECK(json(messages[2].json)["tool_calls"][0]["arguments"] == "no json");
  CHECK(messages[3].role == "tool");
  CHECK(messages[3].content == "r");
  CHECK(json(messages[3].json)["tool_call_id"] == "1");
  CHECK_THAT(message(R"({"messages":[{"role":"assistant","content":null}]})"), Catch::Contains("messages[0].content"));
  CHECK_THAT(message(R"({"messages":[{"role":"assistant","tool_calls":{}}]})"), Catch::Contains("messages[0].tool_calls must be"));
  CHECK_THAT(message(R"({"messages":[{"role":"assistant","tool_calls":[1]}]})"), Catch::Contains("messages[0].tool_calls[0]"));
  CHECK_THAT(message(R"({"messages":[{"role":"tool","content":"r","tool_call_id":1}]})"), Catch::Contains("messages[0].tool_call_id"));
}

TEST_CASE("exactly one of prompt, messages and tokens is given") {
  CHECK(message("{}") != "accepted");
  CHECK(message(R"({"prompt":"a","messages":[{"role":"user","content":"b"}]})") != "accepted");
  CHECK(message(R"({"prompt":"a","tokens":[1]})") != "accepted");
  CHECK(message(R"({"messages":[]})") != "accepted");
  CHECK(message(R"({"tokens":[1],"system":"s"})") != "accepted");
  CHECK(message(R"({"tokens":[1],"raw":true})") != "accepted");
  CHECK(message(R"({"prompt":"a","raw":true,"system":"s"})") != "accepted");
  CHECK(message(R"({"messages":[{"role":"user","content":"b"}],"raw":true})") != "accepted");
  CHECK(message(R"({"messages":[{"role":"system","content":"b"}],"system":"s"})") != "accepted");
}

TEST_CASE("system stands before the conversation") {
  const auto command = generate(R"({"messages":[{"role":"user","content":"u"}],"system":"s"})");
  REQUIRE(command);
  REQUIRE(command->prompt.messages.size() == 2);
  CHECK(command->prompt.messages[0].role == "system");
  CHECK(command->prompt.messages[0].content == "s");
}

TEST_CASE("what this build cannot do is refused, not ignored") {
  CHECK(generate(R"({"prompt":"x","overflow":"compress"})").error().code == Code::kInvalidArgument);  // needs a session
  CHECK(generate(R"({"prompt":"x","overflow":"sliding_window"})")->overflow == OverflowPolicy::kSlidingWindow);
  CHECK(generate(R"({"prompt":"x","overflow":"nonsense"})").error().code == Code::kInvalidArgument);
  CHECK(generate(R"({"prompt":"x","overflow":"error"})"));
  CHECK(generate(R"({"prompt":"x","session_id":"s"})").error().code == Code::kInvalidArgument);
  CHECK(generate(R"({"prompt":"x","expected_head":"12345678"})").error().code == Code::kInvalidArgument);
}

TEST_CASE("params by position follow the declared order") {
  const auto command = generate(R"(["hi",7,0.25,true])");
  REQUIRE(command);
  CHECK(command->prompt.messages[0].content == "hi");
  CHECK(command->max_tokens == 7);
  CHECK(command->sampling.temperature == Approx(0.25F));
  CHECK(message(R"(["hi",7,0.25,true,1])") ==
        "5 arguments by position, at most 4 are taken (prompt, max_tokens, temperature, stream); give the others by "
        "name");
  CHECK_THAT(message(R"(["hi","7"])"), Catch::Contains("max_tokens must be"));
  CHECK(message("\"x\"") == "arguments must be an object or an array");
  CHECK(message("[]") != "accepted");
}

TEST_CASE("the nearest name is proposed") {
  const std::vector<FieldFacts> fields = {{"alpha", {}, {}}, {"beta", {}, {}}, {"secret", {.hidden = true}, {}}};
  CHECK_THAT(unknown_field("alpa", fields).error.message, Catch::Contains("did you mean alpha?"));
  CHECK_THAT(unknown_field("betamax", fields).error.message, Catch::Contains("did you mean beta?"));
  CHECK_THAT(unknown_field("secre", fields).error.message, !Catch::Contains("secret"));
}
