// The truth table of protocol.md §2, row by row, with and without HTTP headers.
#include "mcp/era.h"

#include <catch2/catch.hpp>
#include <string>

#include "rpc/limits.h"
#include "rpc/parse.h"

using namespace kvasir;
using namespace kvasir::mcp;

namespace {

constexpr const char* kClaim =
    R"({"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}})";
constexpr const char* kOldClaim =
    R"({"_meta":{"io.modelcontextprotocol/protocolVersion":"1900-01-01","io.modelcontextprotocol/clientCapabilities":{}}})";
constexpr const char* kPoorClaim = R"({"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}})";

rpc::Request request(const std::string& method, const std::string& params = "") {
  rpc::Request out;
  out.id = {rpc::MessageId::Kind::kNumber, "0"};
  out.method = method;
  if (!params.empty()) out.params = *rpc::parse_json(params, rpc::Limits{});
  return out;
}

std::string call_params(const std::string& name) {
  return R"({"name":")" + name +
         R"(","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}})";
}

/// "legacy", "modern" or "code status".
std::string chosen(const rpc::Request& message, const rpc::HttpHeaders* headers = nullptr) {
  const auto era = choose_era(message, headers);
  if (const auto* refusal = std::get_if<Refusal>(&era))
    return std::to_string(refusal->error.code) + " " + std::to_string(refusal->http_status);
  return std::get<Era>(era) == Era::kModern ? "modern" : "legacy";
}
std::string chosen(const rpc::Request& message, const rpc::HttpHeaders& headers) {
  return chosen(message, &headers);
}

rpc::HttpHeaders headers(const std::string& version, const std::string& method = "", const std::string& name = "") {
  rpc::HttpHeaders out;
  if (!version.empty()) out.emplace("mcp-protocol-version", version);
  if (!method.empty()) out.emplace("mcp-method", method);
  if (!name.empty()) out.emplace("mcp-name", name);
  return out;
}

}  // namespace

TEST_CASE("initialize is legacy unless its claim is valid") {
  CHECK(chosen(request("initialize")) == "legacy");
  CHECK(chosen(request("initialize", R"({"protocolVersion":"2025-11-25"})")) == "legacy");
  CHECK(chosen(request("initialize", kOldClaim)) == "legacy");
  CHECK(chosen(request("initialize", kPoorClaim)) == "legacy");
  CHECK(chosen(request("initialize", kClaim)) == "-32601 404");
  CHECK(chosen(request("initialize"), headers("2025-11-25")) == "legacy");
  CHECK(chosen(request("initialize"), headers("2026-07-28")) == "-32020 400");
  CHECK(chosen(request("initialize"), headers("2031-01-01")) == "-32020 400");
}

TEST_CASE("a claim is checked for its keys before anything else") {
  CHECK(chosen(request("tools/list", kPoorClaim)) == "-32602 400");
  CHECK(chosen(request("tools/list", kPoorClaim), headers("2025-11-25", "nonsense")) == "-32602 400");
  CHECK(chosen(request("nope", kPoorClaim)) == "-32602 400");
  const auto era = choose_era(request("tools/list", kPoorClaim), nullptr);
  CHECK((*std::get<Refusal>(era).error.data)["key"] == "io.modelcontextprotocol/clientCapabilities");
}

TEST_CASE("a header that contradicts the body comes before the version check") {
  CHECK(chosen(request("tools/list", kOldClaim), headers("2026-07-28", "tools/list")) == "-32020 400");
  CHECK(chosen(request("tools/list", kOldClaim), headers("1900-01-01", "tools/call")) == "-32020 400");
  CHECK(chosen(request("tools/list", kOldClaim), headers("1900-01-01", "tools/list")) == "-32022 400");
  CHECK(chosen(request("tools/list", kOldClaim), headers("")) == "-32022 400");
  CHECK(chosen(request("tools/list", kOldClaim)) == "-32022 400");
  CHECK(chosen(request("tools/list", kClaim), headers("2025-11-25", "tools/list")) == "-32020 400");
}

TEST_CASE("the version that is not spoken is named with those that are") {
  const auto era = choose_era(request("tools/list", kOldClaim), nullptr);
  CHECK(std::get<Refusal>(era).error.data->dump() == R"({"supported":["2026-07-28"],"requested":"1900-01-01"})");
}

TEST_CASE("modern HTTP needs its headers, off HTTP nothing is asked of them") {
  CHECK(chosen(request("tools/list", kClaim)) == "modern");
  CHECK(chosen(request("tools/list", kClaim), headers("2026-07-28", "tools/list")) == "modern");
  CHECK(chosen(request("tools/list", kClaim), headers("", "tools/list")) == "-32020 400");
  CHECK(chosen(request("tools/list", kClaim), headers("2026-07-28")) == "-32020 400");
  CHECK(chosen(request("tools/list", kClaim), headers("2026-07-28", "TOOLS/LIST")) == "-32020 400");
  const auto call = request("tools/call", call_params("x"));
  CHECK(chosen(call, headers("2026-07-28", "tools/call")) == "-32020 400");
  CHECK(chosen(call, headers("2026-07-28", "tools/call", "y")) == "-32020 400");
  CHECK(chosen(call, headers("2026-07-28", "tools/call", "x")) == "modern");
  CHECK(chosen(call, headers("2026-07-28", "tools/call", "=?base64?eA==?=")) == "modern");
  CHECK(chosen(call, headers("2026-07-28", "tools/call", "=?base64?eA=?=")) == "-32020 400");
  auto twice = headers("2026-07-28", "tools/list");
  twice.emplace("mcp-method", "tools/list");
  CHECK(chosen(request("tools/list", kClaim), twice) == "-32020 400");
}

TEST_CASE("methods that the modern era does not have are not found, after the headers agree") {
  for (const char* method :
       {"initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/list", "nope"}) {
    CHECK(chosen(request(method, kClaim)) == "-32601 404");
    CHECK(chosen(request(method, kClaim), headers("2026-07-28", method)) == "-32601 404");
    CHECK(chosen(request(method, kClaim), headers("2026-07-28")) == "-32020 400");
  }
}

TEST_CASE("without a claim a modern header asks for one, and modern methods do too") {
  CHECK(chosen(request("tools/list"), headers("2026-07-28", "tools/list")) == "-32602 400");
  CHECK(chosen(request("tools/list", R"({"_meta":{}})"), headers("2026-07-28")) == "-32602 400");
  CHECK(chosen(request("tools/list"), headers("2025-11-25")) == "legacy");
  CHECK(chosen(request("tools/list"), headers("")) == "legacy");
  CHECK(chosen(request("server/discover")) == "-32602 400");
  CHECK(chosen(request("subscriptions/listen")) == "-32602 400");
  CHECK(chosen(request("tools/list")) == "legacy");
  CHECK(chosen(request("nope")) == "legacy");
}

TEST_CASE("notifications follow their claim, else the header, else they are legacy") {
  const auto modern = headers("2026-07-28"), legacy = headers("2025-06-18");
  CHECK(era_of_notification(request("notifications/cancelled"), nullptr) == Era::kLegacy);
  CHECK(era_of_notification(request("notifications/cancelled"), &legacy) == Era::kLegacy);
  CHECK(era_of_notification(request("notifications/cancelled"), &modern) == Era::kModern);
  CHECK(era_of_notification(request("notifications/cancelled", kClaim), nullptr) == Era::kModern);
}

TEST_CASE("base64 in headers is strict") {
  CHECK(decode_header_value("plain") == "plain");
  CHECK(decode_header_value("=?base64?YWJj?=") == "abc");
  CHECK(decode_header_value("=?base64?YWI=?=") == "ab");
  CHECK(decode_header_value("=?base64?"
                            "?=") == "");
  CHECK_FALSE(decode_header_value("=?base64?YW=j?="));
  CHECK_FALSE(decode_header_value("=?base64?YWI?="));
  CHECK_FALSE(decode_header_value("=?base64?YW J?="));
  CHECK_FALSE(decode_header_value("=?base64?YWJ=?="));  // unused bits are not zero
  CHECK(decode_header_value("=?BASE64?YWJj?=") == "=?BASE64?YWJj?=");
  CHECK(decode_header_value("=?base64?YWJj") == "=?base64?YWJj");
  CHECK(decode_header_value("=?base64?=") == "=?base64?=");
}

TEST_CASE("names in messages are cut between code points") {
  CHECK(shown_name("abc") == "abc");
  CHECK(shown_name(std::string(64, 'x')) == std::string(64, 'x'));
  CHECK(shown_name(std::string(63, 'x') + "øø") == std::string(63, 'x') + "...");
}
