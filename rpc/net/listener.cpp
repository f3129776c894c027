#include "rpc/net/listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>
#include <vector>

#include "core/base/log.h"
#include "rpc/net/http_session.h"

namespace kvasir::rpc {
namespace {

constexpr std::chrono::milliseconds kTick{250};
constexpr std::chrono::milliseconds kBackOff{100};  // no descriptors left: trying again at once would burn the core
constexpr int kBacklog = 1024;
constexpr int kAcceptsPerTurn = 64;
constexpr int kSendBufferBytes = 256 << 10;  // a bigger one would hide a slow reader from the outbox
constexpr std::string_view kTooMany =
    "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

std::string errno_text(int code) { return std::generic_category().message(code); }

std::string address_text(const sockaddr_storage& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.ss_family == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&address);
    return inet_ntop(AF_INET6, &v6->sin6_addr, text.data(), text.size()) != nullptr ? text.data() : "?";
  }
  const auto* v4 = reinterpret_cast<const sockaddr_in*>(&address);
  return inet_ntop(AF_INET, &v4->sin_addr, text.data(), text.size()) != nullptr ? text.data() : "?";
}

void set_option(int fd, int level, int name, int value) { ::setsockopt(fd, level, name, &value, sizeof(value)); }

struct AddressList {
  addrinfo* first = nullptr;
  ~AddressList() {
    if (first != nullptr) freeaddrinfo(first);
  }
};

/// A bound, listening, non-blocking socket.
Result<int> bind_one(const addrinfo& address) {
  const int fd = ::socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return Failure{Code::kIo, errno_text(errno)};
  set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (::bind(fd, address.ai_addr, address.ai_addrlen) == 0 && ::listen(fd, kBacklog) == 0) return fd;
  const int code = errno;
  ::close(fd);
  return Failure{Code::kIo, errno_text(code)};
}

uint16_t bound_port(int fd) {
  sockaddr_storage bound{};
  socklen_t size = sizeof(bound);
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size) != 0) return 0;
  return ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port
                                           : reinterpret_cast<sockaddr_in*>(&bound)->sin_port);
}

}  // namespace

Listener::Listener(ServerContext& context) : context_(context) {
  host_ = std::make_shared<const Connection::Host>(Connection::Host{
      context.reactor, context.limits(), context.group->clock, [this, alive = std::weak_ptr<bool>(alive_)](Connection& connection) {
        if (!alive.expired()) forget(connection);
      }});
}

Listener::~Listener() { abort_all(); }

Result<uint16_t> Listener::open(const std::string& host, uint16_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  AddressList list;
  std::string name = host;
  if (name.size() > 2 && name.front() == '[' && name.back() == ']') name = name.substr(1, name.size() - 2);
  const int failed = getaddrinfo(name.c_str(), std::to_string(port).c_str(), &hints, &list.first);
  if (failed != 0) return Failure{Code::kIo, "cannot listen on " + host + ": " + gai_strerror(failed)};
  std::string why = "no address";
  for (const int family : {AF_INET, AF_INET6}) {
    for (const addrinfo* address = list.first; address != nullptr; address = address->ai_next) {
      if (address->ai_family != family) continue;
      auto fd = bind_one(*address);
      if (fd) {
        socket_ = context_.reactor.watch(*fd);
        socket_->on_readable([this] { accept_more(); });
        return bound_port(*fd);
      }
      why = fd.error().message;
    }
  }
  return Failure{Code::kIo, "cannot listen on " + host + ":" + std::to_string(port) + ": " + why};
}

void Listener::accept_more() {
  if (!socket_) return;
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    sockaddr_storage address{};
    socklen_t size = sizeof(address);
    const int fd = ::accept4(socket_->fd(), reinterpret_cast<sockaddr*>(&address), &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      admit(fd, address_text(address));
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno == EAGAIN) break;
    log::warn("accept_failed reason=\"" + errno_text(errno) + "\"");
    return context_.reactor.after(kBackOff, [this, alive = std::weak_ptr<bool>(alive_)] {
      if (!alive.expired()) accept_more();
    });
  }
  socket_->on_readable([this] { accept_more(); });
}

void Listener::admit(int fd, std::string address) {
  const Limits& limits = context_.limits();
  uint32_t& from_there = per_address_[address];
  // All programs of this machine share the loopback address, so only the total counts for them.
  const bool local = address == "::1" || address.starts_with("127.");
  if (connections_.size() >= limits.max_connections || (!local && from_there >= limits.max_connections_per_peer)) {
    if (from_there == 0) per_address_.erase(address);
    context_.count_refused();
    [[maybe_unused]] const ssize_t sent = ::send(fd, kTooMany.data(), kTooMany.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    ::close(fd);
    return;
  }
  ++from_there;
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, SOL_SOCKET, SO_SNDBUF, kSendBufferBytes);
  const auto connection = std::make_shared<Connection>(host_, context_.reactor.watch(fd), std::move(address));
  connections_.insert(connection);
  connection->start(std::make_unique<HttpSession>(*connection, context_));
  if (!std::exchange(ticking_, true)) tick();
}

void Listener::forget(Connection& connection) {
  const auto count = per_address_.find(connection.peer_address());
  if (count != per_address_.end() && --count->second == 0) per_address_.erase(count);
  connections_.erase(connection.shared_from_this());
}

void Listener::tick() {
  if (connections_.empty()) {
    ticking_ = false;
    return;
  }
  const TimePoint now = context_.group->clock.now();
  for (const auto& connection : connections_) connection->tick(now);  // endings are posted, so the set does not change
  context_.reactor.after(kTick, [this, alive = std::weak_ptr<bool>(alive_)] {
    if (!alive.expired()) tick();
  });
}

void Listener::stop_accepting() { socket_.reset(); }

void Listener::shutdown() {
  const std::vector<std::shared_ptr<Connection>> all(connections_.begin(), connections_.end());
  for (const auto& connection : all) {
    if (connection->open()) connection->protocol().shutdown();
  }
}

void Listener::abort_all() {
  for (const auto& connection : connections_) connection->abort();
}

size_t Listener::buffered_bytes() const {
  size_t bytes = 0;
  for (const auto& connection : connections_) bytes += connection->buffered_bytes();
  return bytes;
}

}  // namespace kvasir::rpc
