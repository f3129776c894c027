// Plain methods by name, behind a peer, as a client meets them.
#include "rpc/router.h"

#include <catch2/catch.hpp>

#include "rpc/peer.h"

using namespace kvasir;
using namespace kvasir::rpc;

namespace {

class Recorder final : public Channel {
 public:
  void send_answer(std::string text) override { sent.push_back(std::move(text)); }
  void send_notification(std::string text) override { sent.push_back(std::move(text)); }
  bool congested() const override { return false; }
  void cut(std::string_view) override {}

  std::vector<std::string> sent;
};

}  // namespace

TEST_CASE("router: methods by name and position, bad params before the handler, unknown names (rows 11, 14, J10, J12)") {
  struct Add {
    int a = 0, b = 0;
  };
  Router router;
  int ran = 0;
  router.method<Add>(
      "add",
      [](const Json& params) -> Result<Add> {
        if (params.is_array() && params.size() == 2) return Add{params[0].get<int>(), params[1].get<int>()};
        if (params.is_object() && params.contains("a") && params.contains("b")) return Add{params["a"].get<int>(), params["b"].get<int>()};
        return Failure{Code::kInvalidArgument, "a and b are needed"};
      },
      [&ran](const CallInfo&, Add add, const MessageId&, Responder reply) {
        ++ran;
        reply.result(Json(add.a + add.b));
      });
  auto group = std::make_shared<PeerGroup>();
  Recorder channel;
  Peer peer(group, router, CallInfo{}, channel);
  const auto ask = [&](std::string_view method, std::string_view params) {
    channel.sent.clear();
    peer.receive(R"({"jsonrpc":"2.0","id":1,"method":")" + std::string(method) + "\"" + std::string(params) + "}");
    REQUIRE(channel.sent.size() == 1);
    return Json::parse(channel.sent[0]);
  };
  CHECK(ask("add", R"(,"params":[1,2])")["result"] == 3);
  CHECK(ask("add", R"(,"params":{"b":5,"a":2})")["result"] == 7);
  CHECK(ask("add", "")["error"]["code"] == kInvalidParams);
  CHECK(ask("add", R"(,"params":[1,2,3])")["error"]["message"] == "a and b are needed");
  CHECK(ran == 2);
  for (const char* name : {"", "rpc.discover", "nope", "notifications/cancelled"}) CHECK(ask(name, "")["error"]["code"] == kMethodNotFound);
  CHECK(ask(std::string(1 << 20, 'x'), "")["error"]["message"].get<std::string>().size() < 100);
  channel.sent.clear();
  peer.receive(R"({"jsonrpc":"2.0","method":"add","params":[1,2]})");
  CHECK(ran == 3);
  CHECK(channel.sent.empty());
  CHECK(router.names() == std::vector<std::string>{"add"});
}
