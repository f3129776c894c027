#include "tests/support/memory_server.h"

#include <stdexcept>
#include <utility>

namespace kvasir::test {

MemoryConnection::MemoryConnection(std::shared_ptr<rpc::PeerGroup> group, rpc::Service& service,
                                   rpc::Transport transport, const std::string& principal) {
  rpc::CallInfo info;
  info.transport = transport;
  info.principal = principal;
  peer_ = std::make_unique<rpc::Peer>(std::move(group), service, info, *this);
}

void MemoryExchange::respond(int code, const rpc::HeaderList& list, std::string text) {
  if (status != 0) throw std::logic_error("two responses to one exchange");
  status = code;
  headers = list;
  body = std::move(text);
  ended = true;
}

void MemoryExchange::start_events(const rpc::HeaderList& list) {
  if (status != 0) throw std::logic_error("two responses to one exchange");
  status = 200;
  headers = list;
  is_events = true;
}

void MemoryExchange::client_leaves() {
  if (auto fn = std::move(disconnect_)) fn();
}

void MemoryExchange::client_reads() {
  buffered = 0;
  auto fn = std::move(drained_);
  if (!fn) return;
  fn();
  if (!drained_) drained_ = std::move(fn);  // kept, as the real exchange does
}

std::string MemoryExchange::header(const std::string& name) const {
  for (const auto& [key, value] : headers)
    if (key == name) return value;
  return "";
}

MemoryServer::MemoryServer(const rpc::Limits& limits) : group_(std::make_shared<rpc::PeerGroup>()) {
  group_->limits = limits;
  group_->after = [this](std::chrono::milliseconds delay, UniqueFunction<void()> task) {
    after(delay, std::move(task));
  };
}

void MemoryServer::route_websocket(std::string path, std::string subprotocol, rpc::Service&) {
  websockets_[std::move(path)] = std::move(subprotocol);
}

bool MemoryServer::has_websocket(const std::string& path, const std::string& subprotocol) const {
  const auto found = websockets_.find(path);
  return found != websockets_.end() && found->second == subprotocol;
}

void MemoryServer::after(std::chrono::milliseconds delay, UniqueFunction<void()> task) {
  tasks_.emplace(clock_.now() + delay, std::move(task));
}

std::unique_ptr<MemoryConnection> MemoryServer::connect(rpc::Service& service, rpc::Transport transport,
                                                        const std::string& principal) {
  return std::make_unique<MemoryConnection>(group_, service, transport, principal);
}

std::shared_ptr<MemoryExchange> MemoryServer::request(rpc::HttpRequest request) {
  auto exchange = std::make_shared<MemoryExchange>();
  routes_.at(request.path)(std::move(request), exchange);
  return exchange;
}

void MemoryServer::advance(std::chrono::milliseconds by) {
  const TimePoint until = clock_.now() + by;
  while (!tasks_.empty() && tasks_.begin()->first <= until) {
    auto node = tasks_.extract(tasks_.begin());
    if (node.key() > clock_.now()) clock_.advance(node.key() - clock_.now());
    node.mapped()();
  }
  if (until > clock_.now()) clock_.advance(until - clock_.now());
}

}  // namespace kvasir::test
