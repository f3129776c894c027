// RFC 6455 frames as bytes, no I/O: WebSocket++'s hybi13 processor behind a pimpl; the .cpp is the one file that sees
// WebSocket++. Owned by one connection; io thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace kvasir::rpc::ws {

/// Close codes of RFC 6455 §7.4.1 that this server sends.
enum CloseCode : uint16_t {
  kNormal = 1000, kGoingAway = 1001, kProtocolError = 1002, kUnsupportedData = 1003, kNoStatus = 1005,
  kInvalidPayload = 1007, kPolicyViolation = 1008, kTooBig = 1009, kInternal = 1011,
};

enum class Kind : uint8_t { kText, kBinary, kPing, kPong, kClose };

/// A whole message or control frame. Text is valid UTF-8.
struct Message {
  Kind kind = Kind::kText;
  std::string payload;
};

class Codec {
 public:
  /// `max_fragments`: frames of one data message, empty ones included.
  Codec(size_t max_message_bytes, uint32_t max_fragments);
  ~Codec();
  Codec(Codec&&) noexcept;
  Codec& operator=(Codec&&) noexcept;

  enum class Status : uint8_t { kNeedMore, kMessage, kFault };
  /// Takes bytes (which it unmasks in place) up to the end of one message. `used`: how many. After kFault the stream is
  /// beyond repair: close with fault_code().
  Status consume(char* data, size_t size, size_t& used, Message& out);
  uint16_t fault_code() const noexcept;
  std::string_view fault_reason() const noexcept;
  /// Between messages: nothing has begun that has not ended.
  bool idle() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Server frames: unmasked, never fragmented.
std::string text_frame(std::string_view payload);
std::string pong_frame(std::string_view payload);
std::string ping_frame(std::string_view payload);
/// `code` kNoStatus sends an empty body. A long reason is cut.
std::string close_frame(uint16_t code, std::string_view reason);

/// The code to answer a close frame with: its own, kNoStatus if it has none, kProtocolError if the body is wrong.
uint16_t close_reply(const std::string& payload);

/// Sec-WebSocket-Accept for a key; empty if the key is not 16 bytes of base64.
std::string accept_value(std::string_view key);

/// 20 bytes. For the handshake and to compare secrets of unequal length; not a signature.
std::string sha1(std::string_view text);

}  // namespace kvasir::rpc::ws
