// A TCP client that says exactly the bytes it is told to, with just enough HTTP and WebSocket to read the answers.
// Every wait has a deadline.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace kvasir::test {

using namespace std::chrono_literals;

struct HttpAnswer {
  int status = 0;  ///< 0: none came
  std::map<std::string, std::string> headers;
  std::string body;
};

struct WsFrame {
  int opcode = -1;  ///< -1: none came
  std::string payload;
  uint16_t close_code() const {
    return payload.size() < 2 ? uint16_t{1005}
                              : static_cast<uint16_t>(static_cast<unsigned char>(payload[0]) << 8 | static_cast<unsigned char>(payload[1]));
  }
};

class RawClient {
 public:
  /// `receive_buffer` 0: the system's default.
  explicit RawClient(uint16_t port, int receive_buffer = 0);
  ~RawClient();
  RawClient(RawClient&& other) noexcept : fd_(std::exchange(other.fd_, -1)), in_(std::move(other.in_)) {}
  RawClient(const RawClient&) = delete;

  bool connected() const { return fd_ >= 0; }
  /// False when the other side does not take it (closed, or nothing read for `limit`).
  bool send(std::string_view bytes, std::chrono::milliseconds limit = 5s);
  /// Everything until the other side closes.
  std::string read_all(std::chrono::milliseconds limit = 5s);
  /// The other side closed or reset within the limit; what came before is dropped.
  bool closed_within(std::chrono::milliseconds limit);
  HttpAnswer read_answer(std::chrono::milliseconds limit = 5s);
  /// One server-sent event's data.
  std::optional<std::string> read_event(std::chrono::milliseconds limit = 5s);
  void shutdown_send();
  void reset();  ///< closes with RST
  void close();

  bool upgrade(std::string_view path, std::string_view extra_headers = "");
  bool send_frame(int opcode, std::string_view payload, bool fin = true);
  WsFrame read_frame(std::chrono::milliseconds limit = 5s);
  /// A text frame's payload, pings answered by silence.
  std::string read_text(std::chrono::milliseconds limit = 5s);

 private:
  bool fill(std::chrono::steady_clock::time_point deadline);
  bool need(size_t bytes, std::chrono::steady_clock::time_point deadline);
  std::optional<std::string> line(std::chrono::steady_clock::time_point deadline);

  int fd_ = -1;
  std::string in_;
  bool events_ = false;
};

/// A masked client frame.
std::string client_frame(int opcode, std::string_view payload, bool fin = true, int rsv = 0);
/// `POST path` with a JSON body and the usual headers.
std::string post(std::string_view path, std::string_view body, std::string_view extra_headers = "");
std::string get(std::string_view path, std::string_view extra_headers = "");
inline constexpr std::string_view kUpgradeHeaders =
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

}  // namespace kvasir::test
