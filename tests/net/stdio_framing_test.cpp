// Both framings of a byte stream, whole and in two pieces at every split.
#include "rpc/net/stdio_framing.h"

#include <catch2/catch.hpp>
#include <vector>

using namespace kvasir;
using namespace kvasir::rpc;

namespace {

std::vector<std::string> run(const std::vector<std::string_view>& pieces, Framing framing, const Limits& limits) {
  std::vector<std::string> out;
  StdioFraming reader(framing, limits,
                      {[&out](std::string_view text) { out.emplace_back(text); },
                       [&out](const RpcError& error) { out.push_back("fault " + std::to_string(error.code)); }});
  for (const auto piece : pieces) reader.feed(piece);
  reader.end();
  return out;
}

std::vector<std::string> read(const std::string& text, Framing framing = Framing::kDetect, const Limits& limits = {}) {
  const auto whole = run({text}, framing, limits);
  for (size_t i = 0; i <= text.size(); ++i) {
    INFO("split at " << i);
    CHECK(run({std::string_view(text).substr(0, i), std::string_view(text).substr(i)}, framing, limits) == whole);
  }
  return whole;
}

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("stdio framing: lines, blank ones skipped, the last one without its newline") {
  CHECK(read("{\"a\":1}\n\r\n  \n[2]\r\n3") == Lines{"{\"a\":1}", "[2]", "3"});
  CHECK(read("") == Lines{});
  CHECK(read("\n\n") == Lines{});
  CHECK(read("Content-Length: 2\n\n{}", Framing::kLines) == Lines{"Content-Length: 2", "{}"});
}

TEST_CASE("stdio framing: headers with lengths, told apart by their first byte") {
  CHECK(read("Content-Length: 2\r\n\r\n{}Content-Length:3\r\nContent-Type: x; charset=utf-8\r\n\r\n[1]") == Lines{"{}", "[1]"});
  CHECK(read("\r\ncontent-length: 1\r\n\r\n7\r\nContent-Length: 1\r\n\r\n8") == Lines{"7", "8"});
  CHECK(read("Content-Type: x\r\nContent-Length: 2\r\n\r\n{}") == Lines{"{}"});
  CHECK(read("Content-Length: 3\r\n\r\n{\n}") == Lines{"{\n}"});
}

TEST_CASE("stdio framing: an over-long message is one fault, and the next one is read (L10)") {
  Limits limits;
  limits.max_message_bytes = 4;
  CHECK(read("1234\n12345\nok\n", Framing::kDetect, limits) == Lines{"1234", "fault -32600", "ok"});
  CHECK(read("123456789", Framing::kDetect, limits) == Lines{"fault -32600"});
  CHECK(read("Content-Length: 5\r\n\r\n12345Content-Length: 2\r\n\r\nok", Framing::kDetect, limits) == Lines{"fault -32600", "ok"});
}

TEST_CASE("stdio framing: bad headers are faults, and the next frame is found") {
  CHECK(read("Content-Length: x\r\n\r\nContent-Length: 2\r\n\r\nok") == Lines{"fault -32700", "ok"});
  CHECK(read("Content-Length: -1\r\n\r\nContent-Length: 2\r\n\r\nok") == Lines{"fault -32700", "ok"});
  CHECK(read("Content-Length: 99999999999999999999\r\n\r\nContent-Length: 2\r\n\r\nok") == Lines{"fault -32700", "ok"});
  CHECK(read("Content-Length: 2\r\nno header\r\n\r\nok").at(0) == "fault -32700");
  CHECK(read("Content-Length: 9\r\n\r\nshort") == Lines{"fault -32700"});
  CHECK(read("Content-Length: 2\r\n\r\nokC" + std::string(9000, 'x') + "\r\nContent-Length: 2\r\n\r\nok") == Lines{"ok", "fault -32700", "ok"});
}

TEST_CASE("stdio framing: answers are framed as the client frames") {
  const Limits limits;
  const StdioFraming::Sink sink{[](std::string_view) {}, [](const RpcError&) {}};
  StdioFraming lines(Framing::kDetect, limits, sink);
  lines.feed("{}\n");
  CHECK(lines.frame("{}") == "{}\n");
  StdioFraming headers(Framing::kDetect, limits, sink);
  headers.feed("C");
  CHECK(headers.frame("{}") == "Content-Length: 2\r\n\r\n{}");
}
