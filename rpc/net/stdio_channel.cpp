#include "rpc/net/stdio_channel.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <utility>

#include "core/base/log.h"

namespace kvasir::rpc {
namespace {

constexpr size_t kReadBytes = 64u << 10;
constexpr std::chrono::milliseconds kGraceAfterInput{250};   // for `echo ... | kvasir rpc`: quick answers still come
constexpr std::chrono::milliseconds kGiveUpAfter{1300};      // EOF to exit stays under 2 s (protocol.md §6.1)
constexpr std::chrono::milliseconds kQuietPoll{5};
constexpr std::chrono::milliseconds kLostProgressGap{10};

/// Waits until `fd` is ready, or `waker` has something. False: woken.
bool wait_ready(int fd, short events, int waker) {
  for (;;) {
    std::array<pollfd, 2> fds{pollfd{fd, events, 0}, pollfd{waker, POLLIN, 0}};
    if (::poll(fds.data(), fds.size(), -1) < 0) {
      if (errno == EINTR) continue;
      return false;
    }
    if (fds[1].revents != 0) return false;
    if (fds[0].revents != 0) return true;
  }
}

}  // namespace

StdioChannel::Waker::Waker() {
  std::array<int, 2> fds{};
  if (::pipe2(fds.data(), O_CLOEXEC | O_NONBLOCK) != 0) return;  // poll() ignores -1: only the wake-up is missing
  read_fd = fds[0];
  write_fd = fds[1];
}

StdioChannel::Waker::~Waker() {
  if (read_fd >= 0) ::close(read_fd);
  if (write_fd >= 0) ::close(write_fd);
}

void StdioChannel::Waker::wake() const {
  const char byte = 0;
  [[maybe_unused]] const ssize_t put = ::write(write_fd, &byte, 1);
}

StdioChannel::StdioChannel(ServerContext& context, int in_fd, int out_fd, Framing framing, Service& service,
                           UniqueFunction<void()> ended)
    : context_(context),
      in_fd_(in_fd),
      out_fd_(out_fd),
      mcp_(service.rules().mcp_ids),
      ended_(std::move(ended)),
      framing_(framing, context.limits(),
               {[this](std::string_view text) { peer_.receive(text); }, [this](const RpcError& error) { peer_.refuse(error); }}),
      peer_(context.group, service, CallInfo{.transport = Transport::kStdio, .principal = "local"}, *this),
      outbox_(context.limits()) {
  reader_ = std::thread([this] { read_loop(); });
  writer_ = std::thread([this] { write_loop(); });
}

StdioChannel::~StdioChannel() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  reader_may_go_.notify_all();
  writer_has_work_.notify_all();
  reader_waker_.wake();
  writer_waker_.wake();
  reader_.join();
  writer_.join();
}

void StdioChannel::on_loop(UniqueFunction<void()> task) {
  context_.reactor.post([alive = std::weak_ptr<bool>(alive_), task = std::move(task)]() mutable {
    if (!alive.expired()) task();
  });
}

void StdioChannel::read_loop() {
  std::string buffer(kReadBytes, '\0');
  while (wait_ready(in_fd_, POLLIN, reader_waker_.read_fd)) {
    const ssize_t got = ::read(in_fd_, buffer.data(), buffer.size());
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0) {
      on_loop([this] { input_over(); });
      return;
    }
    std::unique_lock lock(mutex_);
    if (stop_) return;
    chunk_pending_ = true;
    lock.unlock();
    on_loop([this, bytes = buffer.substr(0, static_cast<size_t>(got))]() mutable { chunk(std::move(bytes)); });
    lock.lock();
    // The next read waits until the io thread took this one, and while the client reads nothing of what it is sent.
    reader_may_go_.wait(lock, [this] { return stop_ || (!chunk_pending_ && !outbox_.crowded()); });
    if (stop_) return;
  }
}

void StdioChannel::chunk(std::string bytes) {
  if (!ending_ && !cut_) framing_.feed(bytes);
  {
    const std::lock_guard lock(mutex_);
    chunk_pending_ = false;
  }
  reader_may_go_.notify_one();
}

void StdioChannel::write_loop() {
  std::unique_lock lock(mutex_);
  for (;;) {
    writer_has_work_.wait(lock, [this] { return stop_ || !outbox_.empty(); });
    if (stop_) return;
    // A pipe that poll() calls writable takes this much without blocking.
    const std::string piece(outbox_.front().substr(0, PIPE_BUF));
    lock.unlock();
    const bool written = write_some(piece);
    lock.lock();
    if (stop_) return;
    if (!written) {
      output_lost_ = true;
      on_loop([this] { output_lost(); });
      return;
    }
    outbox_.pop(piece.size());
    if (was_congested_ && outbox_.relaxed()) {
      was_congested_ = false;
      on_loop([this] { peer_.drained(); });
      reader_may_go_.notify_one();
    }
  }
}

bool StdioChannel::write_some(std::string_view bytes) {
  while (!bytes.empty()) {
    if (!wait_ready(out_fd_, POLLOUT, writer_waker_.read_fd)) return false;
    const ssize_t put = ::write(out_fd_, bytes.data(), bytes.size());
    if (put < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (put <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(put));
  }
  return true;
}

void StdioChannel::send_answer(std::string text) {
  if (cut_) return;
  const std::string framed = framing_.frame(text);
  bool pushed = false;
  {
    const std::lock_guard lock(mutex_);
    if (output_lost_) return;
    pushed = outbox_.push(framed);
    if (outbox_.congested()) was_congested_ = true;
  }
  if (pushed) return writer_has_work_.notify_one();
  cut("the client does not read its answers");
}

void StdioChannel::send_notification(std::string text) { send_answer(std::move(text)); }

bool StdioChannel::congested() const {
  const std::lock_guard lock(mutex_);
  return outbox_.congested();
}

size_t StdioChannel::buffered_bytes() const {
  const std::lock_guard lock(mutex_);
  return outbox_.bytes();
}

std::chrono::milliseconds StdioChannel::answer_gap() const {
  return mcp_ ? kLostProgressGap : std::chrono::milliseconds(0);
}

void StdioChannel::cut(std::string_view reason) {
  if (std::exchange(cut_, true)) return;
  log::warn("stdio_cut reason=\"" + std::string(reason) + "\"");
  on_loop([this] { begin_ending(CancelCause::kDisconnected, std::chrono::milliseconds(0)); });
}

void StdioChannel::input_over() {
  if (!ending_ && !cut_) framing_.end();
  begin_ending(CancelCause::kDisconnected, kGraceAfterInput);
}

void StdioChannel::output_lost() {
  cut_ = true;
  begin_ending(CancelCause::kDisconnected, std::chrono::milliseconds(0));
}

void StdioChannel::shutdown() { begin_ending(CancelCause::kShutdown, std::chrono::milliseconds(0)); }

void StdioChannel::begin_ending(CancelCause cause, std::chrono::milliseconds grace) {
  const auto cancel = [this, cause, alive = std::weak_ptr<bool>(alive_)] {
    if (!alive.expired() && !over_) peer_.cancel_all(cause);
  };
  if (!std::exchange(ending_, true)) {
    give_up_ = context_.group->clock.now() + grace + kGiveUpAfter;
    on_loop([this] { finish_when_quiet(); });
  }
  if (grace.count() == 0) return cancel();
  context_.group->after(grace, cancel);
}

void StdioChannel::idle() {}

/// Ends as soon as nothing is in flight and the outbox is empty, or after the time for that is over.
void StdioChannel::finish_when_quiet() {
  if (over_) return;
  const bool quiet = cut_ ? peer_.in_flight() == 0 : peer_.in_flight() == 0 && buffered_bytes() == 0;
  if (quiet || context_.group->clock.now() >= give_up_) return end_now();
  context_.group->after(kQuietPoll, [this, alive = std::weak_ptr<bool>(alive_)] {
    if (!alive.expired()) finish_when_quiet();
  });
}

void StdioChannel::end_now() {
  over_ = true;
  peer_.disconnect(CancelCause::kDisconnected);
  auto ended = std::move(ended_);
  if (ended) ended();
}

}  // namespace kvasir::rpc
