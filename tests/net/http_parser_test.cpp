// Requests from bytes, fed whole, one byte at a time, and in two pieces at every split: the outcome is the same.
#include <catch2/catch.hpp>
#include <vector>

#include "rpc/net/http_parser.h"
#include "rpc/net/http_text.h"

using namespace kvasir;
using namespace kvasir::rpc;
using namespace std::string_literals;

namespace {

struct Outcome {
  std::vector<std::string> requests;  // "METHOD path?query body" of each complete one
  int error = 0;
  bool operator==(const Outcome&) const = default;
};

/// Parses pieces in turn, as a connection would.
Outcome run(const std::vector<std::string_view>& pieces, const Limits& limits) {
  Outcome out;
  HttpParser parser(limits);
  std::string buffer;
  for (const auto piece : pieces) {
    buffer += piece;
    std::string_view rest = buffer;
    for (bool more = true; more;) {
      switch (parser.parse(rest)) {
        case HttpParser::Status::kNeedMore: more = false; break;
        case HttpParser::Status::kHead: break;
        case HttpParser::Status::kError: out.error = parser.error_status(); return out;
        case HttpParser::Status::kComplete: {
          const HttpHead& head = parser.head();
          const std::string query = head.query.empty() ? "" : "?" + head.query;
          out.requests.push_back(head.method + " " + head.path + query + " " + parser.take_body());
          parser.reset();
          break;
        }
      }
    }
    buffer.erase(0, buffer.size() - rest.size());
  }
  return out;
}

/// The outcome, required to be the same however the bytes arrive.
Outcome parse(const std::string& text, const Limits& limits = {}) {
  const Outcome whole = run({text}, limits);
  std::vector<std::string_view> bytes;
  for (size_t i = 0; i < text.size(); ++i) bytes.push_back(std::string_view(text).substr(i, 1));
  CHECK(run(bytes, limits) == whole);
  if (text.size() < 1000) {
    for (size_t i = 1; i < text.size(); ++i) {
      INFO("split at " << i);
      CHECK(run({std::string_view(text).substr(0, i), std::string_view(text).substr(i)}, limits) == whole);
    }
  }
  return whole;
}

int error(const std::string& text, const Limits& limits = {}) { return parse(text, limits).error; }
std::string with(std::string_view line) { return "POST /rpc HTTP/1.1\r\nHost: a\r\n" + std::string(line) + "\r\n\r\n"; }

}  // namespace

TEST_CASE("http parser: requests with and without bodies, one after the other") {
  const Outcome out = parse(
      "GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n"
      "POST /p HTTP/1.1\r\nhOsT:x\r\nContent-Length:  3 \r\n\r\nabc"
      "\r\nPOST /q HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n0A\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n"
      "DELETE / HTTP/1.0\r\nHost: x\r\n\r\n");
  CHECK(out.error == 0);
  CHECK(out.requests == std::vector<std::string>{"GET /a?b=c ", "POST /p abc", "POST /q abc0123456789", "DELETE / "});
}

TEST_CASE("http parser: Content-Length is one plain number (H7)") {
  for (const char* value : {"-1", "+5", "5abc", "0x5", "5, 6", "5, 5", "", "18446744073709551616", "18446744073709551615999", "1e1", "5 5"}) {
    INFO(value);
    CHECK(error(with("Content-Length: " + std::string(value))) == 400);
  }
  CHECK(error(with("Content-Length: 5\r\nContent-Length: 5")) == 400);
  CHECK(error(with("Content-Length: 4194305")) == 413);
  CHECK(error(with("Content-Length: 0")) == 0);
}

TEST_CASE("http parser: no request that two servers may read differently (H8)") {
  CHECK(error(with("Content-Length: 5\r\nTransfer-Encoding: chunked")) == 400);
  CHECK(error(with("Transfer-Encoding: chunked\r\nContent-Length: 5")) == 400);
  for (const char* value : {"chunked, identity", "identity, chunked", "identity", "xchunked", "chunked;q=1", "\"chunked\"", "gzip, chunked", ""}) {
    INFO(value);
    CHECK(error(with("Transfer-Encoding: " + std::string(value))) == 400);
  }
  CHECK(error(with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked")) == 400);
  CHECK(error("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n") == 400);
  CHECK(error(with("Transfer-Encoding: Chunked")) == 0);
}

TEST_CASE("http parser: chunks keep to their form and to the size limit (H9)") {
  const std::string head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  CHECK(error(head + "fffffffffffffff1\r\n") == 413);
  CHECK(error(head + "-1\r\n") == 400);
  CHECK(error(head + "0x5\r\n") == 400);
  CHECK(error(head + " 5\r\n") == 400);
  CHECK(error(head + "\r\n") == 400);
  CHECK(error(head + std::string(17, '1') + "\r\n") == 400);
  CHECK(error(head + "5;" + std::string(300, 'x') + "\r\n") == 400);
  CHECK(error(head + "3\r\nabcd\r\n") == 400);
  CHECK(error(head + "3\r\nabc\n0\r\n\r\n") == 400);
  CHECK(error(head + "3\nabc\r\n") == 400);
  std::string bomb = head + "0\r\n";
  for (int i = 0; i < 65; ++i) bomb += "a: b\r\n";
  CHECK(error(bomb) == 431);
  Limits small;
  small.max_message_bytes = 5;
  CHECK(parse(head + "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", small).requests.size() == 1);
  CHECK(error(head + "3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n", small) == 413);
}

TEST_CASE("http parser: header lines are strict and bounded (H10)") {
  CHECK(error("GET / HTTP/1.1\nHost: a\n\n") == 400);
  CHECK(error("GET / HTTP/1.1\r\nHost: a\n\r\n") == 400);
  CHECK(error(with("A: b\r\n folded")) == 400);
  CHECK(error(with("A : b")) == 400);
  CHECK(error(with(": b")) == 400);
  CHECK(error(with("nocolon")) == 400);
  CHECK(error(with("A: b\0c"s)) == 400);
  CHECK(error(with("A: b\rc")) == 400);
  CHECK(error(with("A: b\x7f")) == 400);
  CHECK(error(with("A\xc3\xa4: b")) == 400);
  CHECK(error(with("A: \xc3\xa4")) == 0);
  std::string many;
  for (int i = 0; i < 64; ++i) many += "h" + std::to_string(i) + ": v\r\n";
  CHECK(error(with(many + "x: y")) == 431);
  CHECK(error("GET / HTTP/1.1\r\nHost: a\r\n" + many.substr(0, many.rfind("h63")) + "\r\n") == 0);
  CHECK(error(with("A: " + std::string(8192, 'x'))) == 431);
  CHECK(error(with("A: " + std::string(8000, 'x'))) == 0);
  CHECK(error(with("A: " + std::string(8000, 'x') + "\r\nB: " + std::string(8000, 'x') + "\r\nC: " + std::string(500, 'x'))) == 431);
  CHECK(error(with("Authorization: Bearer " + std::string(2u << 20, 'x'))) == 431);
}

TEST_CASE("http parser: headers that decide something come once") {
  for (const char* name : {"Host", "Origin", "Authorization", "Content-Type"}) {
    CHECK(error("GET / HTTP/1.1\r\nHost: a\r\n" + (std::string(name) + ": a\r\n") + name + ": a\r\n\r\n") == 400);
  }
  CHECK(error("GET / HTTP/1.1\r\n\r\n") == 400);
  CHECK(error("GET / HTTP/1.0\r\n\r\n") == 400);
}

TEST_CASE("http parser: request lines (H13, W20)") {
  for (const char* line : {"GET  / HTTP/1.1", "GET /", "GET", "GET / http/1.1", "GET / HTTP/11", "GET / HTTP/1.1 ", "G@T / HTTP/1.1", "GET x HTTP/1.1",
                           "GET * HTTP/1.1", "GET // HTTP/1.1", "GET /a//b HTTP/1.1", "GET /a/../b HTTP/1.1", "GET /.. HTTP/1.1", "GET /./a HTTP/1.1",
                           "GET /%2e%2E/a HTTP/1.1", "GET /%2f HTTP/1.1", "GET /%00 HTTP/1.1", "GET /%zz HTTP/1.1", "GET /% HTTP/1.1", "GET /a#b HTTP/1.1",
                           "GET /\xc3\xa4 HTTP/1.1", "CONNECT a:80 HTTP/1.1", "GET https://a/ HTTP/1.1", "GET http:/// HTTP/1.1"}) {
    INFO(line);
    CHECK(error(line + "\r\nHost: a\r\n\r\n"s) == 400);
  }
  for (const char* version : {"3.7", "0.9", "2.0", "1.2"}) CHECK(error("GET / HTTP/" + std::string(version) + "\r\nHost: a\r\n\r\n") == 505);
  CHECK(error("GET /" + std::string(9000, 'x') + " HTTP/1.1\r\n") == 414);
  CHECK(error("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == 400);
  CHECK(error("\x16\x03\x01\x02\x00\x01"s) == 400);
  CHECK(error("\r\n\r\n\r\nGET / HTTP/1.1\r\n") == 400);
  CHECK(parse("GET http://A:80/x?y HTTP/1.1\r\nHost: a:80\r\n\r\n").requests == std::vector<std::string>{"GET /x?y "});
  CHECK(error("GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n") == 400);
}

TEST_CASE("http parser: only 100-continue can be expected (H11)") {
  CHECK(error(with("Expect: 200-ok")) == 417);
  CHECK(error(with("Expect: 100-continue\r\nContent-Length: 99999999")) == 413);
  const Limits limits;
  HttpParser parser(limits);
  const std::string text = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n";
  std::string_view in = text;
  REQUIRE(parser.parse(in) == HttpParser::Status::kHead);
  CHECK(parser.head().expects_continue);
}

TEST_CASE("http parser: how long a connection lives") {
  const auto keeps = [](std::string_view version, std::string_view header) {
    const Limits limits;
    HttpParser parser(limits);
    const std::string text = "GET / HTTP/" + std::string(version) + "\r\nHost: a\r\n" + std::string(header) + "\r\n";
    std::string_view in = text;
    REQUIRE(parser.parse(in) == HttpParser::Status::kHead);
    return parser.head().keep_alive;
  };
  CHECK(keeps("1.1", ""));
  CHECK_FALSE(keeps("1.1", "Connection: Close\r\n"));
  CHECK_FALSE(keeps("1.1", "Connection: a, close\r\n"));
  CHECK_FALSE(keeps("1.0", ""));
  CHECK(keeps("1.0", "Connection: keep-alive\r\n"));
}

TEST_CASE("http text: lists, media types, comparison") {
  CHECK(list_items(" a, ,b ,").size() == 2);
  CHECK(media_type("Application/JSON ; charset=utf-8") == "application/json");
  CHECK(media_type("application/jsonx") != "application/json");
  CHECK(equal_constant_time("abc", "abc"));
  CHECK_FALSE(equal_constant_time("abc", "abd"));
  CHECK_FALSE(equal_constant_time("abc", "ab"));
}
