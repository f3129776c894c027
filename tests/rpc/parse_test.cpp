// Untrusted text: limits, ids, shapes. Case ids (J1...) are those of the catalogue of bad inputs.
#include <catch2/catch.hpp>
#include <chrono>
#include <ctime>
#include <string>

#include "rpc/parse.h"

using namespace kvasir;
using namespace kvasir::rpc;
using namespace std::string_literals;

namespace {

const Limits kLimits;
const Service::Rules kPlain;
const Service::Rules kMcp{.mcp_ids = true, .answer_cancelled = false, .dollar_cancel = false};

std::string repeat(std::string_view text, size_t times) {
  std::string out;
  for (size_t i = 0; i < times; ++i) out += text;
  return out;
}

Code refusal(std::string_view text) {
  const auto parsed = parse_json(text, kLimits);
  REQUIRE_FALSE(parsed);
  return parsed.error().code;
}

bool accepted(std::string_view text) { return parse_json(text, kLimits).has_value(); }

ParsedText parse(std::string_view text, const Service::Rules& rules = kPlain, bool batches = true) {
  return parse_text(text, kLimits, rules, [batches](const Json&) { return batches; });
}

/// The answer to a text that is one bad message.
std::string answer(std::string_view text, const Service::Rules& rules = kPlain) {
  const ParsedText parsed = parse(text, rules);
  REQUIRE(parsed.messages.size() == 1);
  const auto* bad = std::get_if<BadMessage>(&parsed.messages[0]);
  REQUIRE(bad != nullptr);
  return error_text(bad->id, bad->error, rules.mcp_ids);
}

int answer_code(std::string_view text, const Service::Rules& rules = kPlain) {
  return Json::parse(answer(text, rules))["error"]["code"].get<int>();
}

std::string id_of(std::string_view id, const Service::Rules& rules = kPlain) {
  const ParsedText parsed = parse(R"({"jsonrpc":"2.0","method":"m","id":)" + std::string(id) + "}", rules);
  REQUIRE(parsed.messages.size() == 1);
  const auto* request = std::get_if<Request>(&parsed.messages[0]);
  return request == nullptr ? "refused" : request->id.text;
}

}  // namespace

TEST_CASE("parse: nothing, space and unfinished text are not JSON (J1)") {
  for (const char* text : {"", "  \n", "{", "[", "\"", "{\"a\"", "{\"a\":", "[1,", "tru", "-", "1.", "1e"}) {
    INFO(text);
    CHECK(refusal(text) == Code::kInvalidArgument);
    CHECK(answer_code(text) == kParseError);
  }
}

TEST_CASE("parse: depth 64 passes, 65 and far deeper do not, quickly (J1)") {
  CHECK(accepted(repeat("[", 64) + repeat("]", 64)));
  CHECK(answer_code(repeat("[", 65) + repeat("]", 65)) == kParseError);
  CHECK(accepted(repeat("{\"a\":", 63) + "[]" + repeat("}", 63)));
  CHECK_FALSE(accepted(repeat("{\"a\":", 64) + "[]" + repeat("}", 64)));
  const std::clock_t begin = std::clock();  // of this process: neighbours do not count
  CHECK(answer_code(std::string(4u << 20, '[')) == kParseError);
  CHECK(std::clock() - begin < 2 * CLOCKS_PER_SEC);  // 1 ms, under TSan 0.1 s
}

TEST_CASE("parse: NUL and byte order mark are refused, wherever (J2)") {
  CHECK(refusal("{\"a\":1}\0{\"evil\":2}"s) == Code::kInvalidArgument);
  CHECK(refusal("\"a\0b\""s) == Code::kInvalidArgument);
  CHECK(refusal("1\0"s) == Code::kInvalidArgument);
  CHECK(refusal("\xEF\xBB\xBF{}") == Code::kInvalidArgument);
}

TEST_CASE("parse: text that is not UTF-8 and lone surrogates are refused (J3)") {
  for (const char* text : {"\"\xff\"", "\"\xc0\xaf\"", "\"\xe0\x80\xaf\"", "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"", "\"\xe2\x82\"",
                           "\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\ud800\"", "\"\\ud800x\"", "\"\\uD83D\\u0041\""}) {
    INFO(text);
    CHECK(refusal(text) == Code::kInvalidArgument);
  }
  CHECK(parse_json("\"\\ud83d\\ude00\"", kLimits)->get<std::string>() == "\xF0\x9F\x98\x80");
  CHECK(accepted("\"\xF4\x8F\xBF\xBF\xED\x9F\xBF\""));
}

TEST_CASE("parse: a key twice in one object is refused as a message (J4)") {
  CHECK(refusal(R"({"a":1,"a":2})") == Code::kConflict);
  CHECK(refusal(R"({"a":1,"\u0061":2})") == Code::kConflict);
  CHECK(refusal(R"([{"x":{"b":1,"c":2,"b":3}}])") == Code::kConflict);
  CHECK(accepted(R"({"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}]})"));
  CHECK(answer_code(R"({"jsonrpc":"2.0","id":1,"method":"m","method":"n"})") == kInvalidRequest);
  CHECK(answer_code(R"({"jsonrpc":"2.0","id":1,"id":2,"method":"m"})") == kInvalidRequest);
  const auto last = parse_json(R"({"a":1,"b":{"c":1,"c":2},"a":3})", kLimits, /*allow_duplicate_keys=*/true);
  REQUIRE(last);
  CHECK(last->dump() == R"({"b":{"c":2},"a":3})");
}

TEST_CASE("parse: numbers keep to the grammar, to a double's range and to 1 KiB of text (J5)") {
  for (const char* text : {"1e400", "-1e400", "NaN", "Infinity", "-Infinity", "01", "+1", ".5", "1.e2", "0x10", "1e+"}) {
    INFO(text);
    CHECK(refusal(text) == Code::kInvalidArgument);
  }
  for (const char* text : {"-0", "1e-400", "0.0", "1E+2", "-1.5e-3", "18446744073709551616"}) CHECK(accepted(text));
  CHECK(accepted("0." + std::string(1022, '1')));
  CHECK(answer_code("0." + std::string(1023, '1')) == kParseError);
  CHECK(answer_code(std::string(4u << 20, '7')) == kParseError);
}

TEST_CASE("parse: more than 300,000 values are refused before memory is spent on them (J14)") {
  Limits limits;
  limits.max_values = 4;
  CHECK(parse_json("[1,2,3]", limits));
  CHECK(parse_json("[1,2,3,4]", limits).error().code == Code::kTooLarge);
  CHECK(parse_json(R"({"a":{"b":[1]}})", limits));
  std::string many = "[";
  for (int i = 0; i < 300'000; ++i) many += "0,";
  many.back() = ']';
  CHECK(refusal(many) == Code::kTooLarge);
  CHECK(answer_code(many) == kInvalidRequest);
}

TEST_CASE("parse: an object of very many keys takes time in proportion to them") {
  std::string text = "{";
  for (int i = 0; i < 100'000; ++i) text += "\"" + std::to_string(i) + "\":0,";
  text.back() = '}';
  const auto begin = std::chrono::steady_clock::now();
  const auto parsed = parse_json(text, kLimits);
  REQUIRE(parsed);
  CHECK(parsed->size() == 100'000);
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(10));  // 0.05 s; a look-up per key: minutes
}

TEST_CASE("parse: ids come back as they were sent (rows 9, 10)") {
  for (const char* id : {"0", "1", "-0", "-7", "1.0", "1e2", "1.5", "null", "\"\"", "\"1\"", "9007199254740993", "123456789012345678901234567890"}) {
    CHECK(id_of(id) == id);
  }
  CHECK(id_of(R"("\u0061\u00e9\n")") == "\"a\xC3\xA9\\n\"");
  CHECK(id_of('"' + std::string(128, 'x') + '"') == '"' + std::string(128, 'x') + '"');
  // The key of the id may be escaped too, and an id elsewhere is no id.
  const auto escaped = parse(R"({"\u0069d":12345678901234567890123,"jsonrpc":"2.0","method":"m","params":{"id":1.0}})");
  CHECK(std::get<Request>(escaped.messages.at(0)).id.text == "12345678901234567890123");
}

TEST_CASE("parse: an id that is none is refused without an id (J6)") {
  for (const char* id : {"true", "{}", "[]"}) {
    CHECK(answer(R"({"jsonrpc":"2.0","method":"m","id":)" + std::string(id) + "}").find(R"("id":null)") != std::string::npos);
  }
  CHECK(answer_code(R"({"jsonrpc":"2.0","method":"m","id":")" + std::string(129, 'x') + "\"}") == kInvalidRequest);
  for (const char* id : {"null", "true", "{}", "[]", "1.5", "1.0", "1e2", "9007199254740993", "-9007199254740993"}) {
    INFO(id);
    const std::string text = answer(R"({"jsonrpc":"2.0","method":"m","id":)" + std::string(id) + "}", kMcp);
    CHECK(text.find("\"id\"") == std::string::npos);
    CHECK(Json::parse(text)["error"]["code"] == kInvalidRequest);
  }
  CHECK(id_of("9007199254740992", kMcp) == "9007199254740992");
  CHECK(id_of("-9007199254740992", kMcp) == "-9007199254740992");
  CHECK(id_of("0", kMcp) == "0");
  CHECK(id_of("\"\"", kMcp) == "\"\"");
}

TEST_CASE("parse: jsonrpc must be the string 2.0 (J8, row 13)") {
  for (const char* version : {R"("jsonrpc":"1.0",)", R"("jsonrpc":2.0,)", R"("jsonrpc":null,)", ""}) {
    CHECK(answer_code("{" + std::string(version) + R"("id":7,"method":"m"})") == kInvalidRequest);
  }
  CHECK(Json::parse(answer(R"({"id":7,"method":"m"})"))["id"] == 7);
}

TEST_CASE("parse: params are an object, an array or absent (J9, row 12)") {
  for (const char* params : {"1", "\"x\"", "true", "null"}) {
    const std::string request = R"({"jsonrpc":"2.0","id":1,"method":"m","params":)" + std::string(params) + "}";
    CHECK(answer_code(request) == kInvalidRequest);
    // The same as a notification: nothing may answer it (row 8). MCP tells, without an id.
    const std::string notification = R"({"jsonrpc":"2.0","method":"m","params":)" + std::string(params) + "}";
    CHECK(parse(notification).messages.empty());
    CHECK(answer_code(notification, kMcp) == kInvalidRequest);
  }
  CHECK(answer_code(R"({"jsonrpc":"2.0","id":1,"method":"m","params":[1]})", kMcp) == kInvalidRequest);
  const auto parsed = parse(R"({"jsonrpc":"2.0","id":1,"method":"m","params":[1]})");
  CHECK(std::get<Request>(parsed.messages.at(0)).params->dump() == "[1]");
}

TEST_CASE("parse: the error texts of rows 1 and 2") {
  const Json broken = Json::parse(answer(R"({"jsonrpc":"2.0","method":"f)"));
  CHECK(broken["jsonrpc"] == "2.0");
  CHECK(broken["error"]["code"] == kParseError);
  CHECK(broken["error"]["message"] == "Parse error");
  CHECK(broken["id"].is_null());
  const Json odd = Json::parse(answer(R"({"jsonrpc":"2.0","method":1,"params":"x"})"));
  CHECK(odd["error"]["code"] == kInvalidRequest);
  CHECK(odd["id"].is_null());
}

TEST_CASE("parse: batches (rows 3 to 5, J11)") {
  const auto refused = [](std::string_view text, bool batches = true) {
    const ParsedText parsed = parse(text, kPlain, batches);
    REQUIRE(parsed.messages.size() == 1);
    CHECK(std::get<BadMessage>(parsed.messages[0]).error.code == kInvalidRequest);
    return parsed.is_batch && parsed.batch_refused;
  };
  CHECK(refused("[]"));
  CHECK(refused(R"([{"jsonrpc":"2.0","method":"m"}])", /*batches=*/false));
  CHECK(refused("[" + repeat("1,", 32) + "1]"));
  CHECK(parse("[" + repeat("1,", 31) + "1]").messages.size() == 32);
  const ParsedText ones = parse("[1,2]");
  REQUIRE(ones.messages.size() == 2);
  for (const auto& message : ones.messages) CHECK(std::get<BadMessage>(message).error.code == kInvalidRequest);
  CHECK_FALSE(ones.batch_refused);
  CHECK(answer_code(R"([{"jsonrpc":"2.0","method":"a"},{"jsonrpc")") == kParseError);
  const ParsedText nested = parse(R"([[{"jsonrpc":"2.0","id":1,"method":"m"}]])");
  CHECK(std::get<BadMessage>(nested.messages.at(0)).error.code == kInvalidRequest);
  const ParsedText mixed = parse(R"([{"jsonrpc":"2.0","method":"n"},{"jsonrpc":"2.0","id":2.0,"method":"m"},3,{"id":"x","jsonrpc":"2.0","method":"o"}])");
  REQUIRE(mixed.messages.size() == 4);
  CHECK_FALSE(std::get<Request>(mixed.messages[0]).id.present());
  CHECK(std::get<Request>(mixed.messages[1]).id.text == "2.0");
  CHECK(std::get<Request>(mixed.messages[3]).id.text == "\"x\"");
}

TEST_CASE("parse: what a client answers to us is recognised (J13)") {
  for (const char* text : {R"({"jsonrpc":"2.0","id":1,"result":{}})", R"({"jsonrpc":"2.0","id":"s","error":{"code":1,"message":""}})"}) {
    CHECK(std::holds_alternative<IncomingResponse>(parse(text).messages.at(0)));
  }
  CHECK(answer_code(R"({"jsonrpc":"2.0","id":1})") == kInvalidRequest);
}

TEST_CASE("message: output is one line of valid UTF-8 whatever goes in (J20)") {
  const MessageId id{MessageId::Kind::kNumber, "1"};
  for (const std::string& text : {"\xff"s, "a\nb\r\0"s, "\xe2\x82"s, "\n\ndata: x"s}) {
    const std::string line = result_text(id, Json{{"t", text}, {"n", std::nan("")}});
    CHECK(line.find_first_of("\n\r") == std::string::npos);
    CHECK(parse_json(line, kLimits));
  }
  CHECK(notification_text("m\"\n", Json::object()) == R"({"jsonrpc":"2.0","method":"m\"\n","params":{}})");
  CHECK(error_text({}, {1, "x", Json(2)}, true) == R"({"jsonrpc":"2.0","error":{"code":1,"message":"x","data":2}})");
  CHECK(error_text({}, {1, "x", std::nullopt}, false) == R"({"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}})");
}
