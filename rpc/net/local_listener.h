// The UNIX socket on which the front ends of one user reach their host. Takes a listening socket, lets in only its own
// uid, and gives each connection a LocalSession. No timers: a front end whose client reads slowly just fills its
// socket, and the generation pauses. Owned by the server; io thread.
#pragma once

#include <memory>
#include <set>

#include "rpc/net/connection.h"
#include "rpc/net/server_context.h"

namespace kvasir::rpc {

class LocalListener {
 public:
  explicit LocalListener(ServerContext& context);
  LocalListener(const LocalListener&) = delete;
  LocalListener& operator=(const LocalListener&) = delete;

  void open(int listening_fd, LocalGate gate);
  void stop_accepting();
  void shutdown();
  void abort_all();
  size_t connections() const { return connections_.size(); }
  size_t buffered_bytes() const;

 private:
  void accept_more();
  void admit(int fd);

  ServerContext& context_;
  LocalGate gate_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::shared_ptr<const Connection::Host> host_;
  std::unique_ptr<Descriptor> socket_;
  std::set<std::shared_ptr<Connection>> connections_;
};

}  // namespace kvasir::rpc
