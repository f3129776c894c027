#include <cstdlib>
#include <string>

#include "rpc/net/http_parser.h"
#include "rpc/net/ws_codec.h"
#include "rpc/parse.h"
#include "tests/fuzz/targets.h"

namespace kvasir::fuzz {

void json(std::string_view bytes) {
  const rpc::Limits limits;
  if (auto value = rpc::parse_json(bytes, limits)) {
    // What was accepted is written and read back as the same value.
    const std::string text = rpc::dump(*value);
    auto again = rpc::parse_json(text, limits);
    if (!again || rpc::dump(*again) != text) std::abort();
  }
  for (const bool mcp : {false, true}) {
    rpc::Service::Rules rules;
    rules.mcp_ids = mcp;
    const auto parsed = rpc::parse_text(bytes, limits, rules, [](const rpc::Json&) { return true; });
    if (parsed.messages.size() > limits.max_batch) std::abort();
  }
}

void http(std::string_view bytes) {
  if (bytes.empty()) return;
  rpc::Limits limits;
  limits.max_message_bytes = 4096;
  rpc::HttpParser parser(limits);
  const size_t piece = static_cast<unsigned char>(bytes[0]) + 1U;
  bytes.remove_prefix(1);
  while (!bytes.empty()) {
    std::string_view part = bytes.substr(0, piece);
    bytes.remove_prefix(part.size());
    while (!part.empty()) {
      const auto status = parser.parse(part);
      if (parser.body_bytes() > limits.max_message_bytes) std::abort();
      if (status == rpc::HttpParser::Status::kError) {
        if (parser.error_status() < 400) std::abort();
        return;
      }
      if (status == rpc::HttpParser::Status::kNeedMore) break;
      if (status == rpc::HttpParser::Status::kComplete) parser.reset();
    }
  }
}

void websocket(std::string_view bytes) {
  constexpr size_t kMaxMessage = 4096;
  rpc::ws::Codec codec(kMaxMessage, 64);
  std::string buffer(bytes);
  size_t at = 0;
  while (at < buffer.size()) {
    size_t used = 0;
    rpc::ws::Message message;
    const auto status = codec.consume(buffer.data() + at, buffer.size() - at, used, message);
    if (used > buffer.size() - at || message.payload.size() > kMaxMessage) std::abort();
    if (status == rpc::ws::Codec::Status::kFault) {
      if (codec.fault_code() < 1000) std::abort();
      return;
    }
    if (message.kind == rpc::ws::Kind::kClose) (void)rpc::ws::close_reply(message.payload);
    at += used;
    if (used == 0) return;
  }
}

}  // namespace kvasir::fuzz
