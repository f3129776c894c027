// Frames from bytes at every split (W1 to W10, W19) and the handshake's arithmetic.
#include <catch2/catch.hpp>
#include <vector>

#include "rpc/net/ws_codec.h"
#include "rpc/net/ws_handshake.h"
#include "tests/net/raw_client.h"

using namespace kvasir;
using namespace kvasir::rpc;
using kvasir::test::client_frame;
using namespace std::string_literals;

namespace {

constexpr size_t kMaxBytes = 1000;

struct Outcome {
  std::vector<std::string> messages;  // kind digit and payload
  int fault = 0;
  bool idle = false;
  bool operator==(const Outcome&) const = default;
};

Outcome run(std::vector<std::string> pieces) {
  Outcome out;
  ws::Codec codec(kMaxBytes, 100);
  for (std::string& piece : pieces) {
    size_t at = 0;
    while (at < piece.size()) {
      size_t used = 0;
      ws::Message message;
      const auto status = codec.consume(piece.data() + at, piece.size() - at, used, message);
      at += used;
      if (status == ws::Codec::Status::kFault) {
        out.fault = codec.fault_code();
        return out;
      }
      if (status == ws::Codec::Status::kMessage) out.messages.push_back(std::to_string(static_cast<int>(message.kind)) + message.payload);
    }
  }
  out.idle = codec.idle();
  return out;
}

Outcome decode(const std::string& bytes) {
  const Outcome whole = run({bytes});
  std::vector<std::string> single;
  for (const char c : bytes) single.emplace_back(1, c);
  CHECK(run(single) == whole);
  for (size_t i = 1; i < std::min<size_t>(bytes.size(), 300); ++i) CHECK(run({bytes.substr(0, i), bytes.substr(i)}) == whole);
  return whole;
}

std::string raw(std::initializer_list<int> bytes) {
  std::string out;
  for (const int b : bytes) out += static_cast<char>(b);
  return out;
}

}  // namespace

TEST_CASE("ws codec: messages, fragments and control frames between them") {
  const Outcome out = decode(client_frame(1, "one") + client_frame(1, "t", false) + client_frame(9, "ping") + client_frame(0, "w", false) +
                             client_frame(0, "", false) + client_frame(0, "o") + client_frame(2, "bin") + client_frame(10, "") +
                             client_frame(1, std::string(kMaxBytes, 'x')) + client_frame(8, "\x03\xe8" "bye"));
  CHECK(out.messages == std::vector<std::string>{"0one", "2ping", "0two", "1bin", "3", "0" + std::string(kMaxBytes, 'x'), "4\x03\xe8" "bye"});
  CHECK(out.idle);
  CHECK_FALSE(decode(client_frame(1, "t", false)).idle);
  CHECK_FALSE(decode(client_frame(1, "text").substr(0, 5)).idle);
}

TEST_CASE("ws codec: what RFC 6455 forbids is a protocol error (W1-W5, W8)") {
  CHECK(decode(raw({0x81, 0x01, 'a'})).fault == 1002);
  for (const int rsv : {1, 2, 4}) CHECK(decode(client_frame(1, "a", true, rsv)).fault == 1002);
  for (const int opcode : {3, 4, 5, 6, 7, 11, 12, 13, 14, 15}) CHECK(decode(client_frame(opcode, "a")).fault == 1002);
  for (const int opcode : {8, 9, 10}) {
    CHECK(decode(client_frame(opcode, "a", false)).fault == 1002);
    CHECK(decode(client_frame(opcode, std::string(126, 'a'))).fault == 1002);
    CHECK(decode(client_frame(opcode, std::string(125, 'a'))).fault == 0);
  }
  CHECK(decode(client_frame(0, "a")).fault == 1002);
  CHECK(decode(client_frame(1, "a", false) + client_frame(1, "b")).fault == 1002);
  CHECK(decode(raw({0x81, 0xFE, 0, 5, 1, 2, 3, 4}) + "abcde").fault == 1002);
  CHECK(decode(raw({0x81, 0xFF, 0, 0, 0, 0, 0, 0, 0, 5, 1, 2, 3, 4}) + "abcde").fault == 1002);
}

TEST_CASE("ws codec: text is UTF-8, over fragments too (W6)") {
  for (const char* bad : {"\xff", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "a\xe2\x82"}) CHECK(decode(client_frame(1, bad)).fault == 1007);
  CHECK(decode(client_frame(1, "\xe2", false) + client_frame(0, "\x82\xac")).messages == std::vector<std::string>{"0\xe2\x82\xac"});
  CHECK(decode(client_frame(1, "\xe2", false) + client_frame(0, "x")).fault == 1007);
  CHECK(decode(client_frame(2, "\xff")).fault == 0);
}

TEST_CASE("ws codec: sizes are refused when declared, before the payload (W7)") {
  CHECK(decode(raw({0x81, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4})).fault == 1009);
  CHECK(decode(raw({0x81, 0xFF, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4})).fault == 1009);
  CHECK(decode(raw({0x81, 0xFE, 0x03, 0xE9, 1, 2, 3, 4})).fault == 1009);
  CHECK(decode(client_frame(1, std::string(600, 'a'), false) + raw({0x80, 0xFE, 0x01, 0x91, 1, 2, 3, 4})).fault == 1009);
  // The top bit of a 64-bit length must be clear.
  CHECK(decode(raw({0x81, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4})).fault != 0);
}

TEST_CASE("ws codec: fragments are counted, empty ones too (W10)") {
  std::string flood = client_frame(1, "", false);
  for (int i = 0; i < 101; ++i) flood += client_frame(0, "", false);
  CHECK(decode(flood).fault == 1008);
  std::string fine = client_frame(1, "", false);
  for (int i = 0; i < 90; ++i) fine += client_frame(0, "a", false);
  CHECK(decode(fine + client_frame(0, "")).fault == 0);
}

TEST_CASE("ws codec: close bodies (W9)") {
  CHECK(ws::close_reply("") == ws::kNoStatus);
  CHECK(ws::close_reply("\x03\xe8 bye") == 1000);
  CHECK(ws::close_reply("\x0b\xb8") == 3000);
  CHECK(ws::close_reply("\x03") == ws::kProtocolError);
  for (const int code : {0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535}) {
    INFO(code);
    CHECK(ws::close_reply(raw({code >> 8, code & 0xFF})) == ws::kProtocolError);
  }
  CHECK(ws::close_reply("\x03\xe8\xff") == ws::kProtocolError);
}

TEST_CASE("ws codec: server frames") {
  CHECK(ws::text_frame("hi") == raw({0x81, 2}) + "hi");
  CHECK(ws::text_frame(std::string(126, 'a')).substr(0, 4) == raw({0x81, 126, 0, 126}));
  CHECK(ws::text_frame(std::string(65536, 'a')).substr(0, 10) == raw({0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0}));
  CHECK(ws::close_frame(1001, "x") == raw({0x88, 3, 0x03, 0xE9}) + "x");
  CHECK(ws::close_frame(ws::kNoStatus, "") == raw({0x88, 0}));
  CHECK(ws::close_frame(1008, std::string(500, 'r')).size() == 2 + 125);
  CHECK(ws::ping_frame("") == raw({0x89, 0}));
  CHECK(ws::pong_frame("p") == raw({0x8A, 1}) + "p");
}

TEST_CASE("ws handshake: the key of RFC 6455 and keys that are none (W15)") {
  CHECK(ws::accept_value("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  for (const char* key : {"", "dGhlIHNhbXBsZSBub25j", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ==x", "dGhlIHNhbXBsZSBub25jZWE=", "!!hlIHNhbXBsZSBub25jZQ=="}) {
    INFO(key);
    CHECK(ws::accept_value(key).empty());
  }
}
