// The listening socket: accepts with a back-off when descriptors run out, caps connections in all and per address,
// and ticks the open ones. Owned by the server; io thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "core/base/result.h"
#include "rpc/net/connection.h"
#include "rpc/net/server_context.h"

namespace kvasir::rpc {

class Listener {
 public:
  explicit Listener(ServerContext& context);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  /// Binds and listens. `port` 0 picks one. Returns the port. Errors: kIo.
  Result<uint16_t> open(const std::string& host, uint16_t port);
  void stop_accepting();
  /// Tells every connection that the server stops.
  void shutdown();
  void abort_all();
  size_t connections() const { return connections_.size(); }
  size_t buffered_bytes() const;

 private:
  void accept_more();
  void admit(int fd, std::string address);
  void forget(Connection& connection);
  void tick();

  ServerContext& context_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::shared_ptr<const Connection::Host> host_;
  std::unique_ptr<Descriptor> socket_;
  std::set<std::shared_ptr<Connection>> connections_;
  std::map<std::string, uint32_t> per_address_;
  bool ticking_ = false;
};

}  // namespace kvasir::rpc
