#include "rpc/router.h"

#include <cassert>

#include "core/base/log.h"

namespace kvasir::rpc {
namespace {

constexpr size_t kShownMethodBytes = 64;

/// Where the answers to notifications go: nowhere (JSON-RPC 2.0 §4.1).
class Nowhere final : public Responder::Sink {
 public:
  void result(const Json&) override {}
  void error(const RpcError&, int) override {}
  void notify(std::string_view, const Json&) override {}
  void drop() override {}
  bool congested() const override { return false; }
  void set_on_cancel(UniqueFunction<void(CancelCause)>) override {}
  void set_on_drained(UniqueFunction<void()>) override {}
};

}  // namespace

void Router::add(std::string name, Handler handler) {
  const bool reserved = name.starts_with("rpc.");
  assert(!reserved && "names beginning with rpc. are reserved (JSON-RPC 2.0 §4.3)");
  if (reserved) return log::error("rpc_reserved_name method=" + name);
  handlers_.insert_or_assign(std::move(name), std::move(handler));
}

std::vector<std::string> Router::names() const {
  std::vector<std::string> out;
  out.reserve(handlers_.size());
  for (const auto& [name, handler] : handlers_) out.push_back(name);
  return out;
}

Service::Rules Router::rules() const { return {}; }

std::unique_ptr<ConnectionState> Router::connect(const CallInfo&) { return nullptr; }

void Router::call(Request request, const CallInfo& info, Responder responder) {
  const auto found = handlers_.find(request.method);
  if (found == handlers_.end()) {
    return responder.error(
        {kMethodNotFound, "Method not found: " + request.method.substr(0, kShownMethodBytes), std::nullopt}, 404);
  }
  found->second(info, request.params ? *request.params : Json::object(), request.id, std::move(responder));
}

void Router::notification(Request request, const CallInfo& info) {
  call(std::move(request), info, Responder(std::make_shared<Nowhere>()));
}

bool Router::accepts_batch(const Json&, const CallInfo&) { return true; }

}  // namespace kvasir::rpc
