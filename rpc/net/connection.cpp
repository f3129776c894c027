#include "rpc/net/connection.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <exception>
#include <utility>

#include "core/base/log.h"

namespace kvasir::rpc {
namespace {

constexpr size_t kReadBytes = 64u << 10;
constexpr int kReadsPerTurn = 4;  // then others get their turn
constexpr std::chrono::seconds kLinger{2};
constexpr size_t kMinDrainBytesPerSecond = 1024;  // slower than this counts as not reading

/// One buffer for all connections: an idle connection costs none. io thread only, as everything here.
std::array<char, kReadBytes>& read_buffer() {
  thread_local std::array<char, kReadBytes> buffer;
  return buffer;
}

}  // namespace

Connection::Connection(std::shared_ptr<const Host> host, std::unique_ptr<Descriptor> descriptor, std::string peer_address)
    : host_(std::move(host)), descriptor_(std::move(descriptor)), peer_address_(std::move(peer_address)), outbox_(host_->limits) {}

Connection::~Connection() = default;

void Connection::start(std::unique_ptr<Protocol> protocol) {
  protocol_ = std::move(protocol);
  slow_since_ = now();
  arm_read();
}

void Connection::replace_protocol(std::unique_ptr<Protocol> protocol) {
  retired_ = std::exchange(protocol_, std::move(protocol));
}

void Connection::arm_read() {
  const bool wanted = !eof_ && (state_ == State::kLingering || state_ == State::kFinishing ||
                                (state_ == State::kOpen && !paused_ && !outbox_.crowded()));
  if (!wanted || reading_armed_) return;
  reading_armed_ = true;
  descriptor_->on_readable([self = shared_from_this()] { self->readable(); });
}

void Connection::readable() {
  reading_armed_ = false;
  in_callback_ = true;
  for (int i = 0; i < kReadsPerTurn && state_ != State::kClosed && !eof_; ++i) {
    auto& buffer = read_buffer();
    const ssize_t got = ::recv(descriptor_->fd(), buffer.data(), buffer.size(), 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) break;
    if (got < 0) {
      abort();
    } else if (got == 0) {
      end_of_input();
    } else if (state_ == State::kOpen) {
      const auto size = static_cast<size_t>(got);
      try {
        protocol_->bytes(buffer.data(), size);
      } catch (const std::exception& e) {
        log::error(std::string("connection_exception ") + e.what());
        abort();
      }
      retired_.reset();
      if (size < buffer.size() || paused_ || outbox_.crowded()) break;
    }
  }
  in_callback_ = false;
  if (state_ == State::kClosed) return;
  flush();
  if (state_ != State::kClosed) arm_read();
}

void Connection::end_of_input() {
  eof_ = true;
  if (state_ == State::kOpen) {
    protocol_->eof();
  } else if (state_ == State::kLingering) {
    abort();
  }
}

void Connection::send(std::string_view bytes) {
  if (state_ != State::kOpen) return;
  if (!outbox_.push(bytes)) {
    log::warn("connection_cut reason=outbox_hard_bytes peer=" + peer_address_);
    return abort();
  }
  if (!in_callback_) flush();
}

void Connection::flush() {
  if (outbox_.congested()) was_congested_ = true;
  while (!outbox_.empty() && !writing_armed_) {
    const std::string_view front = outbox_.front();
    const ssize_t put = ::send(descriptor_->fd(), front.data(), front.size(), MSG_NOSIGNAL);
    if (put >= 0) {
      outbox_.pop(static_cast<size_t>(put));
      written_since_ += static_cast<size_t>(put);
    } else if (errno == EAGAIN) {
      writing_armed_ = true;
      descriptor_->on_writable([self = shared_from_this()] {
        self->writing_armed_ = false;
        if (self->state_ != State::kClosed) self->flush();
      });
    } else if (errno != EINTR) {
      return abort();
    }
  }
  after_flush();
}

void Connection::after_flush() {
  if (was_congested_ && outbox_.relaxed()) {
    was_congested_ = false;
    host_->reactor.post([self = shared_from_this()] {
      if (self->state_ == State::kOpen) self->protocol_->drained();
    });
  }
  if (state_ == State::kFinishing && outbox_.empty()) {
    if (eof_) return abort();
    ::shutdown(descriptor_->fd(), SHUT_WR);
    state_ = State::kLingering;
    linger_until_ = now() + kLinger;
  }
  if (!in_callback_) arm_read();
}

void Connection::finish() {
  if (state_ != State::kOpen) return;
  state_ = State::kFinishing;
  if (!in_callback_) flush();
}

void Connection::abort() {
  if (std::exchange(state_, State::kClosed) == State::kClosed) return;
  descriptor_->close();
  host_->reactor.post([self = shared_from_this()] {
    self->protocol_->closed();
    self->host_->forget(*self);
  });
}

void Connection::pause_reading() { paused_ = true; }

void Connection::resume_reading() {
  if (!std::exchange(paused_, false)) return;
  if (!in_callback_ && state_ != State::kClosed) arm_read();
}

void Connection::tick(TimePoint now) {
  if (state_ == State::kClosed) return;
  if (state_ == State::kLingering) {
    if (now > linger_until_) abort();
    return;
  }
  const auto window = host_->limits.slow_reader_timeout;
  const size_t enough = kMinDrainBytesPerSecond * static_cast<size_t>(window.count());
  if (outbox_.empty() || written_since_ >= enough) {
    slow_since_ = now;
    written_since_ = 0;
  } else if (now - slow_since_ > window) {
    log::warn("connection_cut reason=slow_reader peer=" + peer_address_);
    return abort();
  }
  if (state_ == State::kOpen) protocol_->tick(now);
}

}  // namespace kvasir::rpc
