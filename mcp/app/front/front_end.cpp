#include "mcp/app/front/front_end.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <csignal>
#include <optional>
#include <string>
#include <utility>

#include "core/base/log.h"
#include "mcp/app/front/client_state.h"
#include "rpc/net/stdio_framing.h"

namespace kvasir::app {
namespace {

using SteadyTime = std::chrono::steady_clock;

constexpr size_t kReadBytes = 64u << 10;
constexpr size_t kEnoughQueued = 256u << 10;           // above: the other side is not read
constexpr std::chrono::milliseconds kLastWords{1600};  // end of input to exit stays under 2 s (protocol.md §6.1)

/// Bytes on their way out.
class Queue {
 public:
  void push(std::string_view text) { bytes_ += text; }
  std::string_view front() const { return std::string_view(bytes_).substr(sent_); }
  bool empty() const { return sent_ == bytes_.size(); }
  bool crowded() const { return bytes_.size() - sent_ > kEnoughQueued; }
  void pop(size_t count) {
    sent_ += count;
    if (sent_ == bytes_.size() || sent_ > kEnoughQueued) bytes_.erase(0, std::exchange(sent_, 0));
  }
  void clear() { bytes_.clear(), sent_ = 0; }

 private:
  std::string bytes_;
  size_t sent_ = 0;
};

/// A host's answers are as long as they are; only its client's messages are bounded.
rpc::Limits limits_of_answers() {
  rpc::Limits limits;
  limits.max_message_bytes = size_t{1} << 30;
  return limits;
}

std::string with_head(std::string_view text) {
  return "Content-Length: " + std::to_string(text.size()) + "\r\n\r\n" + std::string(text);
}

class FrontEnd {
 public:
  FrontEnd(const HostPlace& place, const FrontEndOptions& options, Interrupt& interrupt)
      : place_(place),
        options_(options),
        interrupt_(interrupt),
        state_(options.link.greeting.speaks),
        from_client_(
            options.framing, limits_,
            {[this](std::string_view text) { client_message(text); },
             [this](const rpc::RpcError& error) { to_client_.push(from_client_.frame(state_.refusal(error))); }}),
        wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

  Result<void> run(OwnedFd first);

 private:
  void adopt(OwnedFd host);
  void client_message(std::string_view text);
  void host_message(std::string_view text);
  bool reconnect();
  void lose_host();
  void read_client();
  void write_client();
  void read_host();
  void write_host();
  void end_input();
  bool over() const;
  int wait_ms() const;

  const HostPlace& place_;
  const FrontEndOptions& options_;
  Interrupt& interrupt_;
  const rpc::Limits limits_;
  ClientState state_;
  rpc::StdioFraming from_client_;
  std::optional<rpc::StdioFraming> from_host_;
  OwnedFd host_;
  OwnedFd wake_;
  Queue to_client_, to_host_;
  bool input_over_ = false;   // nothing more will be read from the client
  bool output_lost_ = false;  // the client reads no more
  bool host_told_ = false;    // of the end of input
  SteadyTime::time_point give_up_{};
};

Result<void> FrontEnd::run(OwnedFd first) {
  adopt(std::move(first));
  interrupt_.on_signal([fd = wake_.get()] {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t put = ::write(fd, &one, sizeof one);
  });
  while (!over()) {
    std::array<pollfd, 4> fds{pollfd{-1, POLLIN, 0}, pollfd{-1, POLLOUT, 0}, pollfd{-1, 0, 0},
                              pollfd{wake_.get(), POLLIN, 0}};
    if (!input_over_ && !to_host_.crowded() && !to_client_.crowded()) fds[0].fd = options_.in_fd;
    // A client that closed its end is noticed even when there is nothing to say: poll() reports POLLERR unasked.
    if (!output_lost_) fds[1] = {options_.out_fd, static_cast<short>(to_client_.empty() ? 0 : POLLOUT), 0};
    // Not asked at all while nothing is wanted: poll() would report a hang-up again and again.
    fds[2].events = static_cast<short>((to_client_.crowded() ? 0 : POLLIN) | (to_host_.empty() ? 0 : POLLOUT));
    if (host_ && fds[2].events != 0) fds[2].fd = host_.get();
    if (::poll(fds.data(), fds.size(), wait_ms()) < 0 && errno != EINTR) return Failure{Code::kIo, "poll failed"};
    if (interrupt_.signal() != 0) end_input();
    if ((fds[2].revents & POLLOUT) != 0) write_host();
    if (host_ && (fds[2].revents & (POLLIN | POLLHUP | POLLERR)) != 0 && (fds[2].events & POLLIN) != 0) read_host();
    if (fds[0].revents != 0) read_client();
    if ((fds[1].revents & POLLOUT) != 0) write_client();
    if ((fds[1].revents & (POLLERR | POLLHUP | POLLNVAL)) != 0) output_lost_ = true, end_input();
  }
  interrupt_.on_signal({});
  if (interrupt_.signal() == SIGINT) return Failure{Code::kCancelled, "interrupted"};
  return {};
}

bool FrontEnd::over() const {
  if (!input_over_) return false;
  if (output_lost_ && to_host_.empty()) return true;
  return SteadyTime::now() >= give_up_ || (!host_ && to_client_.empty());
}

int FrontEnd::wait_ms() const {
  if (!input_over_) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(give_up_ - SteadyTime::now()).count();
  return static_cast<int>(std::clamp<int64_t>(left, 0, INT_MAX));
}

void FrontEnd::adopt(OwnedFd host) {
  host_ = std::move(host);
  ::fcntl(host_.get(), F_SETFL, ::fcntl(host_.get(), F_GETFL) | O_NONBLOCK);
  host_told_ = false;
  from_host_.emplace(
      rpc::Framing::kDetect, limits_of_answers(),
      rpc::StdioFraming::Sink{[this](std::string_view text) { host_message(text); }, [](const rpc::RpcError&) {}});
}

/// Ends the conversation with a host that is gone: its client hears of everything that it waits for. After the end of
/// MCP input the host has gone in good order, and what was cancelled gets no answer.
void FrontEnd::lose_host() {
  host_.reset();
  to_host_.clear();
  const auto answers = state_.host_lost();
  if (host_told_ && options_.link.greeting.speaks == mcp::Greeting::Speaks::kMcp) return;
  if (!answers.empty()) log::warn("host_lost in_flight=" + std::to_string(answers.size()));
  for (const auto& text : answers) to_client_.push(from_client_.frame(text));
}

bool FrontEnd::reconnect() {
  auto connected = connect_to_host(place_, options_.link);
  if (!connected) {
    log::error("no_host reason=\"" + connected.error().message + "\"");
    return false;
  }
  adopt(std::move(*connected));
  for (const auto& text : state_.introduction()) to_host_.push(with_head(text));
  return true;
}

void FrontEnd::client_message(std::string_view text) {
  // The introduction is what the client said before this message.
  const bool linked = host_ || reconnect();
  state_.client_said(text);
  if (!linked) return lose_host();
  to_host_.push(with_head(text));
}

void FrontEnd::host_message(std::string_view text) {
  if (state_.host_said(text)) to_client_.push(from_client_.frame(text));
}

void FrontEnd::read_client() {
  std::string buffer(kReadBytes, '\0');
  const ssize_t got = ::read(options_.in_fd, buffer.data(), buffer.size());
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (got > 0) return from_client_.feed(std::string_view(buffer).substr(0, static_cast<size_t>(got)));
  from_client_.end();
  end_input();
}

void FrontEnd::end_input() {
  if (!std::exchange(input_over_, true)) give_up_ = SteadyTime::now() + kLastWords;
  if (host_ && to_host_.empty() && !std::exchange(host_told_, true)) ::shutdown(host_.get(), SHUT_WR);
}

void FrontEnd::write_client() {
  // A pipe that poll() calls writable takes this much without blocking.
  const std::string_view piece = to_client_.front().substr(0, PIPE_BUF);
  const ssize_t put = ::write(options_.out_fd, piece.data(), piece.size());
  if (put > 0) return to_client_.pop(static_cast<size_t>(put));
  if (put < 0 && (errno == EINTR || errno == EAGAIN)) return;
  output_lost_ = true;
  end_input();
}

void FrontEnd::read_host() {
  std::array<char, kReadBytes> buffer;  // NOLINT: recv() fills it
  const ssize_t got = ::recv(host_.get(), buffer.data(), buffer.size(), 0);
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (got <= 0) return lose_host();
  from_host_->feed({buffer.data(), static_cast<size_t>(got)});
}

void FrontEnd::write_host() {
  const std::string_view piece = to_host_.front();
  const ssize_t put = ::send(host_.get(), piece.data(), piece.size(), MSG_NOSIGNAL);
  if (put > 0) {
    to_host_.pop(static_cast<size_t>(put));
    if (input_over_) end_input();
    return;
  }
  if (put < 0 && (errno == EINTR || errno == EAGAIN)) return;
  lose_host();
}

}  // namespace

Result<void> run_front_end(const HostPlace& place, OwnedFd first, const FrontEndOptions& options,
                           Interrupt& interrupt) {
  return FrontEnd(place, options, interrupt).run(std::move(first));
}

}  // namespace kvasir::app
