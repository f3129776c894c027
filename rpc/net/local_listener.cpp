#include "rpc/net/local_listener.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "core/base/log.h"
#include "rpc/net/local_session.h"

namespace kvasir::rpc {
namespace {

constexpr std::chrono::milliseconds kBackOff{100};
constexpr size_t kMaxFrontEnds = 1024;

bool is_own_uid(int fd) {
  ucred peer{};
  socklen_t size = sizeof(peer);
  return ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == ::geteuid();
}

}  // namespace

LocalListener::LocalListener(ServerContext& context) : context_(context) {
  host_ = std::make_shared<const Connection::Host>(
      Connection::Host{context.reactor, context.limits(), context.group->clock,
                       [this](Connection& connection) { connections_.erase(connection.shared_from_this()); }});
}

void LocalListener::open(int listening_fd, LocalGate gate) {
  gate_ = std::move(gate);
  socket_ = context_.reactor.watch(listening_fd);
  accept_more();
}

void LocalListener::accept_more() {
  if (!socket_) return;
  for (;;) {
    const int fd = ::accept4(socket_->fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      admit(fd);
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno == EAGAIN) break;
    log::warn("local_accept_failed errno=" + std::to_string(errno));
    return context_.reactor.after(kBackOff, [this, alive = std::weak_ptr<bool>(alive_)] {
      if (!alive.expired()) accept_more();
    });
  }
  socket_->on_readable([this] { accept_more(); });
}

void LocalListener::admit(int fd) {
  if (connections_.size() >= kMaxFrontEnds || !is_own_uid(fd)) {
    context_.count_refused();
    ::close(fd);
    return;
  }
  const auto connection = std::make_shared<Connection>(host_, context_.reactor.watch(fd), "local");
  connections_.insert(connection);
  connection->start(std::make_unique<LocalSession>(*connection, context_, gate_));
}

void LocalListener::stop_accepting() {
  socket_.reset();
}

void LocalListener::shutdown() {
  const std::vector<std::shared_ptr<Connection>> all(connections_.begin(), connections_.end());
  for (const auto& connection : all) {
    if (connection->open()) connection->protocol().shutdown();
  }
}

void LocalListener::abort_all() {
  for (const auto& connection : connections_) connection->abort();
}

size_t LocalListener::buffered_bytes() const {
  size_t bytes = 0;
  for (const auto& connection : connections_) bytes += connection->buffered_bytes();
  return bytes;
}

}  // namespace kvasir::rpc
