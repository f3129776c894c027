#include "mcp/error_mapping.h"

#include <catch2/catch.hpp>

using namespace kvasir;
using namespace kvasir::mcp;

TEST_CASE("codes on the wire") {
  const auto code = [](Code c) { return to_wire({c, "m"}).error.code; };
  CHECK(code(Code::kInvalidArgument) == -32602);
  CHECK(code(Code::kUnsupported) == -32602);
  CHECK(code(Code::kTooLarge) == -32602);
  CHECK(code(Code::kNotFound) == -32602);
  CHECK(code(Code::kBusy) == -31001);
  CHECK(code(Code::kCancelled) == -31002);
  CHECK(code(Code::kConflict) == -31005);
  CHECK(code(Code::kCorrupt) == -32603);
  CHECK(code(Code::kInternal) == -32603);
  for (int c = 0; c <= static_cast<int>(Code::kInternal); ++c) {
    const int wire = code(static_cast<Code>(c));
    CHECK((wire > -32000 || wire <= -32600));  // MCP keeps -32000..-32099 for itself
  }
}

TEST_CASE("busy says when to come back") {
  CHECK((*to_wire({Code::kBusy, "m"}, 250).error.data)["retryAfterMs"] == 250);
  CHECK((*to_wire({Code::kBusy, "m"}).error.data)["retryAfterMs"] == kDefaultRetryAfterMs);
  CHECK(to_wire({Code::kBusy, "m"}).http_status == 503);
  CHECK_FALSE(to_wire({Code::kIo, "m"}).error.data->contains("retryAfterMs"));
}

TEST_CASE("a tool's error is text for a model and facts for a program") {
  const auto result = tool_error_result({Code::kBusy, "full"}, 250);
  CHECK(result["isError"] == true);
  CHECK(result["content"][0]["text"] == "full (try again in 250 ms)");
  CHECK(result["_meta"]["dev.kvasir/error"]["code"] == "busy");
  CHECK(tool_error_result({Code::kIo, ""})["content"][0]["text"] == "io");
}
