#include "tests/net/raw_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>

namespace kvasir::test {
namespace {

using Clock = std::chrono::steady_clock;

int ms_left(Clock::time_point deadline) {
  return static_cast<int>(std::max<int64_t>(0, std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count()));
}

}  // namespace

RawClient::RawClient(uint16_t port, int receive_buffer) {
  fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (receive_buffer > 0) ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
  const int on = 1;
  ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) close();
}

RawClient::~RawClient() { close(); }

void RawClient::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

void RawClient::reset() {
  const linger hard{1, 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
  close();
}

void RawClient::shutdown_send() { ::shutdown(fd_, SHUT_WR); }

bool RawClient::send(std::string_view bytes, std::chrono::milliseconds limit) {
  const auto deadline = Clock::now() + limit;
  while (!bytes.empty()) {
    pollfd wait{fd_, POLLOUT, 0};
    if (::poll(&wait, 1, ms_left(deadline)) <= 0) return false;
    const ssize_t put = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (put < 0 && errno == EAGAIN) continue;
    if (put <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(put));
  }
  return true;
}

bool RawClient::fill(Clock::time_point deadline) {
  pollfd wait{fd_, POLLIN, 0};
  if (::poll(&wait, 1, ms_left(deadline)) <= 0) return false;
  char buffer[65536];
  const ssize_t got = ::recv(fd_, buffer, sizeof(buffer), 0);
  if (got <= 0) return false;
  in_.append(buffer, static_cast<size_t>(got));
  return true;
}

bool RawClient::need(size_t bytes, Clock::time_point deadline) {
  while (in_.size() < bytes) {
    if (!fill(deadline)) return false;
  }
  return true;
}

std::string RawClient::read_all(std::chrono::milliseconds limit) {
  const auto deadline = Clock::now() + limit;
  while (fill(deadline)) {
  }
  return std::exchange(in_, {});
}

bool RawClient::closed_within(std::chrono::milliseconds limit) {
  const auto deadline = Clock::now() + limit;
  for (;;) {
    pollfd wait{fd_, POLLIN, 0};
    if (::poll(&wait, 1, ms_left(deadline)) <= 0) return false;
    char buffer[65536];
    if (::recv(fd_, buffer, sizeof(buffer), 0) <= 0) return true;
  }
}

std::optional<std::string> RawClient::line(Clock::time_point deadline) {
  size_t end = 0;
  while ((end = in_.find("\r\n")) == std::string::npos) {
    if (!fill(deadline)) return std::nullopt;
  }
  std::string out = in_.substr(0, end);
  in_.erase(0, end + 2);
  return out;
}

HttpAnswer RawClient::read_answer(std::chrono::milliseconds limit) {
  const auto deadline = Clock::now() + limit;
  HttpAnswer out;
  auto first = line(deadline);
  if (!first || first->size() < 12) return out;
  const int status = std::stoi(first->substr(9, 3));
  for (auto header = line(deadline); header && !header->empty(); header = line(deadline)) {
    const size_t colon = header->find(':');
    std::string name = header->substr(0, colon);
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    out.headers[name] = header->substr(std::min(colon + 2, header->size()));
  }
  if (status == 100) return read_answer(limit);
  out.status = status;
  events_ = out.headers["content-type"] == "text/event-stream";
  if (events_) return out;
  if (const auto length = out.headers.find("content-length"); length != out.headers.end()) {
    const auto size = static_cast<size_t>(std::stoull(length->second));
    if (!need(size, deadline)) out.status = 0;
    out.body = in_.substr(0, size);
    in_.erase(0, size);
  }
  return out;
}

/// One chunk of the answer is one event; keep-alive comments are skipped.
std::optional<std::string> RawClient::read_event(std::chrono::milliseconds limit) {
  const auto deadline = Clock::now() + limit;
  for (;;) {
    const auto size_line = line(deadline);
    if (!size_line) return std::nullopt;
    const size_t size = std::stoul(*size_line, nullptr, 16);
    if (size == 0) {
      line(deadline);
      return std::nullopt;
    }
    if (!need(size + 2, deadline)) return std::nullopt;
    const std::string text = in_.substr(0, size);
    in_.erase(0, size + 2);
    if (text.starts_with(':')) continue;
    constexpr std::string_view kHead = "event: message\ndata: ";
    if (!text.starts_with(kHead) || !text.ends_with("\n\n")) return "malformed event: " + text;
    return text.substr(kHead.size(), text.size() - kHead.size() - 2);
  }
}

bool RawClient::upgrade(std::string_view path, std::string_view extra_headers) {
  send("GET " + std::string(path) + " HTTP/1.1\r\nHost: localhost\r\n" + std::string(kUpgradeHeaders) + std::string(extra_headers) + "\r\n");
  const auto answer = read_answer();
  return answer.status == 101 && answer.headers.at("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
}

std::string client_frame(int opcode, std::string_view payload, bool fin, int rsv) {
  std::string out;
  const auto byte = [&out](uint64_t value) { out += static_cast<char>(value & 0xFF); };
  byte((fin ? 0x80u : 0u) | static_cast<uint64_t>(rsv) << 4 | static_cast<uint64_t>(opcode));
  const size_t size = payload.size();
  if (size < 126) {
    byte(0x80 | size);
  } else if (size < 65536) {
    byte(0x80 | 126);
    byte(size >> 8);
    byte(size);
  } else {
    byte(0x80 | 127);
    for (int shift = 56; shift >= 0; shift -= 8) byte(size >> shift);
  }
  const char key[4] = {0x12, 0x34, 0x56, 0x78};
  out.append(key, 4);
  for (size_t i = 0; i < size; ++i) out += static_cast<char>(payload[i] ^ key[i % 4]);
  return out;
}

bool RawClient::send_frame(int opcode, std::string_view payload, bool fin) { return send(client_frame(opcode, payload, fin)); }

WsFrame RawClient::read_frame(std::chrono::milliseconds limit) {
  const auto deadline = Clock::now() + limit;
  if (!need(2, deadline)) return {};
  size_t size = static_cast<unsigned char>(in_[1]);
  size_t head = 2;
  const auto wide = [&](size_t bytes) {
    size = 0;
    for (size_t i = 0; i < bytes; ++i) size = size << 8 | static_cast<unsigned char>(in_[2 + i]);
    head += bytes;
  };
  if (size == 126 || size == 127) {
    const size_t bytes = size == 126 ? 2 : 8;
    if (!need(2 + bytes, deadline)) return {};
    wide(bytes);
  }
  if (!need(head + size, deadline)) return {};
  WsFrame out{in_[0] & 0xF, in_.substr(head, size)};
  in_.erase(0, head + size);
  return out;
}

std::string RawClient::read_text(std::chrono::milliseconds limit) {
  for (;;) {
    const WsFrame frame = read_frame(limit);
    if (frame.opcode == 9) continue;
    return frame.opcode == 1 ? frame.payload : "no text, opcode " + std::to_string(frame.opcode);
  }
}

std::string post(std::string_view path, std::string_view body, std::string_view extra_headers) {
  return "POST " + std::string(path) + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + std::string(extra_headers) +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
}

std::string get(std::string_view path, std::string_view extra_headers) {
  return "GET " + std::string(path) + " HTTP/1.1\r\nHost: localhost\r\n" + std::string(extra_headers) + "\r\n";
}

}  // namespace kvasir::test
