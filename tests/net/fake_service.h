// A protocol for transport tests, in either dialect of message rules: echo, slow, stream, and ways to misbehave.
// Handlers run on the server's io thread; the counters may be read from anywhere.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>

#include "rpc/net/server.h"
#include "rpc/service.h"

namespace kvasir::test {

class FakeService final : public rpc::Service {
 public:
  explicit FakeService(rpc::Server& server, Rules rules = {}) : server_(server), rules_(rules) {}
  static Rules mcp_rules() { return {.mcp_ids = true, .answer_cancelled = false, .dollar_cancel = false}; }

  Rules rules() const override { return rules_; }
  std::unique_ptr<rpc::ConnectionState> connect(const rpc::CallInfo&) override {
    ++connections;
    return nullptr;
  }
  void call(rpc::Request request, const rpc::CallInfo& info, rpc::Responder responder) override;
  void notification(rpc::Request, const rpc::CallInfo&) override { ++notifications; }
  bool accepts_batch(const rpc::Json&, const rpc::CallInfo&) override { return batches; }

  std::atomic<int> connections{0}, calls{0}, notifications{0}, cancels{0}, finished{0}, paused{0};
  std::atomic<bool> batches{true};

 private:
  struct Stream;
  void slow(const rpc::Json& params, rpc::Responder responder);
  void stream(const rpc::Json& params, rpc::Responder responder);
  void step(const std::shared_ptr<Stream>& stream);

  rpc::Server& server_;
  Rules rules_;
};

}  // namespace kvasir::test
