// The protocol machine without a transport: rows of protocol.md §9, calls in flight, cancellation, batches.
#include <catch2/catch.hpp>
#include <deque>
#include <map>
#include <stdexcept>

#include "rpc/peer.h"

using namespace kvasir;
using namespace kvasir::rpc;

namespace {

/// Holds every call until the test answers it.
class HoldingService final : public Service {
 public:
  Rules rules() const override { return dialect; }
  std::unique_ptr<ConnectionState> connect(const CallInfo&) override { return nullptr; }
  void call(Request request, const CallInfo& info, Responder responder) override {
    if (request.method == "echo") return responder.result(request.params ? *request.params : Json());
    if (request.method == "throw") throw std::runtime_error("on purpose");
    if (request.method == "forget") return;
    in_batch = info.in_batch;
    held[request.method] = std::move(responder);
  }
  void notification(Request request, const CallInfo&) override { notifications.push_back(request.method); }
  bool accepts_batch(const Json&, const CallInfo&) override { return true; }

  Rules dialect;
  std::map<std::string, Responder> held;
  std::vector<std::string> notifications;
  bool in_batch = false;
};

class Recorder final : public Channel {
 public:
  void send_answer(std::string text) override { sent.push_back(std::move(text)); }
  void send_notification(std::string text) override { sent.push_back(std::move(text)); }
  bool congested() const override { return full; }
  void cut(std::string_view) override { ++cuts; }
  void idle() override { ++idles; }
  std::chrono::milliseconds answer_gap() const override { return gap; }

  std::vector<std::string> sent;
  bool full = false;
  int cuts = 0;
  int idles = 0;
  std::chrono::milliseconds gap{0};
};

struct Fixture {
  explicit Fixture(bool mcp = false, Limits limits = {}) {
    if (mcp) service.dialect = {.mcp_ids = true, .answer_cancelled = false, .dollar_cancel = false};
    group->limits = limits;
    group->after = [this](std::chrono::milliseconds, UniqueFunction<void()> task) { later.push_back(std::move(task)); };
    peer = std::make_unique<Peer>(group, service, CallInfo{}, channel);
  }
  void request(std::string_view id, std::string_view method, std::string_view params = "{}") {
    peer->receive(R"({"jsonrpc":"2.0","id":)" + std::string(id) + R"(,"method":")" + std::string(method) + R"(","params":)" +
                  std::string(params) + "}");
  }
  void cancel(std::string_view id) {
    peer->receive(R"({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":)" + std::string(id) + "}}");
  }
  Json take() {
    REQUIRE_FALSE(channel.sent.empty());
    Json out = Json::parse(channel.sent.front());
    channel.sent.erase(channel.sent.begin());
    return out;
  }
  int take_code() { return take()["error"]["code"].get<int>(); }

  std::shared_ptr<PeerGroup> group = std::make_shared<PeerGroup>();
  std::deque<UniqueFunction<void()>> later;
  HoldingService service;
  Recorder channel;
  std::unique_ptr<Peer> peer;
};

}  // namespace

TEST_CASE("peer: answers go out in the order in which they are given") {
  Fixture f;
  f.request("1", "a");
  f.request("2", "b");
  f.service.held["b"].result(Json(20));
  f.service.held["a"].result(Json(10));
  CHECK(f.take() == Json::parse(R"({"jsonrpc":"2.0","id":2,"result":20})"));
  CHECK(f.take() == Json::parse(R"({"jsonrpc":"2.0","id":1,"result":10})"));
  CHECK(f.channel.sent.empty());
}

TEST_CASE("peer: success without a value still has a result (row 15)") {
  Fixture f;
  f.peer->receive(R"({"jsonrpc":"2.0","id":null,"method":"echo"})");
  CHECK(f.channel.sent.at(0) == R"({"jsonrpc":"2.0","id":null,"result":null})");
}

TEST_CASE("peer: notifications are never answered (row 8)") {
  Fixture f;
  for (const char* text : {R"({"jsonrpc":"2.0","method":"unknown"})", R"({"jsonrpc":"2.0","method":"throw"})",
                           R"({"jsonrpc":"2.0","method":"x","params":7})"}) {
    f.peer->receive(text);
  }
  CHECK(f.channel.sent.empty());
  CHECK(f.service.notifications == std::vector<std::string>{"unknown", "throw"});
}

TEST_CASE("peer: a call that throws or forgets its responder is answered with an internal error, once") {
  Fixture f;
  f.request("1", "throw");
  f.request("2", "forget");
  CHECK(f.take_code() == kInternalError);
  CHECK(f.take_code() == kInternalError);
  CHECK(f.channel.sent.empty());
  CHECK(f.peer->in_flight() == 0);
}

TEST_CASE("peer: a responder answers once") {
  Fixture f;
  f.request("1", "a");
  Responder responder = std::move(f.service.held["a"]);
  responder.result(Json(1));
  responder.result(Json(2));
  responder.error({1, "", std::nullopt});
  CHECK_FALSE(responder);
  CHECK(f.channel.sent.size() == 1);
}

TEST_CASE("peer: an id in flight cannot be taken again, and its call is unharmed (J7)") {
  Fixture f;
  f.request("5", "a");
  f.request("5", "b");
  const Json refusal = f.take();
  CHECK(refusal["error"]["code"] == kInvalidRequest);
  CHECK(refusal["id"].is_null());
  CHECK(f.service.held.count("b") == 0);
  f.service.held["a"].result(Json(1));
  CHECK(f.take()["id"] == 5);
  f.request("5", "a");  // free again
  f.service.held["a"].result(Json(2));
  CHECK(f.take()["result"] == 2);
  f.request("\"5\"", "a");  // another id than the number
  f.request("5", "b");
  CHECK(f.peer->in_flight() == 2);
}

TEST_CASE("peer: more calls than allowed are refused with a time to come back (J15)") {
  Limits limits;
  limits.max_in_flight = 2;
  Fixture f(false, limits);
  f.request("1", "a");
  f.request("2", "b");
  f.request("3", "c");
  const Json refusal = f.take();
  CHECK(refusal["id"] == 3);
  CHECK(refusal["error"]["code"] == kOverloaded);
  CHECK(refusal["error"]["data"]["retryAfterMs"].get<int>() > 0);
  f.service.held["a"].result(Json());
  f.take();
  f.request("3", "c");
  CHECK(f.service.held.count("c") == 1);
}

TEST_CASE("peer: the total over all peers is bounded too, and counts calls whose client left") {
  Limits limits;
  limits.max_in_flight_total = 2;
  Fixture f(false, limits);
  Recorder other_channel;
  Peer other(f.group, f.service, CallInfo{}, other_channel);
  f.request("1", "a");
  other.receive(R"({"jsonrpc":"2.0","id":1,"method":"b"})");
  other.receive(R"({"jsonrpc":"2.0","id":2,"method":"c"})");
  CHECK(Json::parse(other_channel.sent.at(0))["error"]["code"] == kOverloaded);
  f.peer->disconnect(CancelCause::kDisconnected);
  other.receive(R"({"jsonrpc":"2.0","id":3,"method":"c"})");
  CHECK(other_channel.sent.size() == 2);  // the engine still works on "a"
  f.service.held["a"].result(Json());
  other.receive(R"({"jsonrpc":"2.0","id":4,"method":"c"})");
  CHECK(other_channel.sent.size() == 2);
  CHECK(f.group->in_flight == 2);
}

TEST_CASE("peer: a plain call is answered after its cancellation, an MCP call is not") {
  for (const bool mcp : {false, true}) {
    Fixture f(mcp);
    f.request("1", "a");
    int cancelled = 0;
    f.service.held["a"].on_cancel([&](CancelCause cause) {
      ++cancelled;
      CHECK(cause == CancelCause::kRequested);
    });
    f.cancel("1");
    f.cancel("1");
    CHECK(cancelled == 1);
    f.service.held["a"].notify("n", Json::object());
    CHECK(f.channel.sent.size() == (mcp ? 0 : 1));
    f.service.held["a"].result(Json{{"finish_reason", "cancelled"}});
    CHECK(f.channel.sent.size() == (mcp ? 0 : 2));
    CHECK(f.peer->in_flight() == 0);
    CHECK(f.group->in_flight == 0);
  }
}

TEST_CASE("peer: MCP frees a cancelled id at once") {
  Fixture f(true);
  f.request("1", "a");
  f.cancel("1");
  f.request("1", "b");
  f.service.held["b"].result(Json::object());
  CHECK(f.take()["id"] == 1);
  f.service.held["a"].drop();
  CHECK(f.peer->in_flight() == 0);
  CHECK(f.channel.sent.empty());
}

TEST_CASE("peer: the editors' cancel works on plain JSON-RPC only, and a cancel as a request does not") {
  Fixture plain;
  int cancelled = 0;
  plain.request("\"x\"", "a");
  plain.service.held["a"].on_cancel([&](CancelCause) { ++cancelled; });
  plain.request("9", "notifications/cancelled", R"({"requestId":"x"})");
  CHECK(cancelled == 0);
  plain.peer->receive(R"({"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":"\u0078"}})");
  CHECK(cancelled == 1);
  Fixture mcp(true);
  mcp.peer->receive(R"({"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":1}})");
  CHECK(mcp.service.notifications == std::vector<std::string>{"$/cancelRequest"});
}

TEST_CASE("peer: a cancel finds its number however it is written") {
  for (const char* id : {"1", "1.0", "1e0"}) {
    for (const char* target : {"1", "1.0", "1e0"}) {
      int cancelled = 0;  // outlives the fixture, whose end cancels what is left
      Fixture f;
      f.request(id, "a");
      f.service.held["a"].on_cancel([&](CancelCause) { ++cancelled; });
      f.cancel(target);
      INFO(id << " by " << target);
      CHECK(cancelled == (std::string(target) == "1" && std::string(id) != "1" ? 0 : 1));
    }
  }
}

TEST_CASE("peer: ten thousand cancels of nothing are ignored (J16)") {
  Fixture f;
  f.request("1", "a");
  for (int i = 2; i < 10'000; ++i) f.cancel(std::to_string(i));
  for (const char* odd : {"null", "{}", "[]", "true", "\"1\"", "1.5"}) f.cancel(odd);
  f.peer->receive(R"({"jsonrpc":"2.0","method":"notifications/cancelled"})");
  f.peer->receive(R"({"jsonrpc":"2.0","method":"notifications/cancelled","params":[1]})");
  CHECK(f.channel.sent.empty());
  CHECK(f.peer->in_flight() == 1);
}

TEST_CASE("peer: a cancel that comes before the handler is set is not lost") {
  Fixture f;
  f.request("1", "a");
  f.cancel("1");
  int cancelled = 0;
  f.service.held["a"].on_cancel([&](CancelCause) { ++cancelled; });
  CHECK(cancelled == 1);
}

TEST_CASE("peer: a disconnect cancels each call exactly once and silences it") {
  Fixture f;
  int cancelled = 0;
  for (const char* name : {"a", "b", "c"}) {
    f.request('"' + std::string(name) + '"', name);
    f.service.held[name].on_cancel([&, name](CancelCause cause) {
      ++cancelled;
      CHECK(cause == CancelCause::kDisconnected);
      if (std::string(name) == "a") f.service.held["a"].result(Json());  // answering from inside
    });
  }
  f.peer->disconnect(CancelCause::kDisconnected);
  f.peer->disconnect(CancelCause::kDisconnected);
  CHECK(cancelled == 3);
  f.service.held["b"].notify("n", Json());
  f.service.held["b"].result(Json());
  f.peer.reset();
  f.service.held["c"].error({1, "", std::nullopt});
  CHECK(f.channel.sent.empty());
  CHECK(f.group->in_flight == 0);
}

TEST_CASE("peer: a batch is answered as one array when its last answer is there (rows 4, 6, 7)") {
  Fixture f;
  f.peer->receive(R"([{"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc":"2.0","method":"n"},7,{"jsonrpc":"2.0","id":2,"method":"echo","params":[3]}])");
  CHECK(f.service.in_batch);
  CHECK(f.channel.sent.empty());
  f.service.held["a"].result(Json("late"));
  const Json answers = f.take();
  REQUIRE(answers.size() == 3);
  CHECK(answers[0]["error"]["code"] == kInvalidRequest);
  CHECK(answers[1]["result"] == Json::parse("[3]"));
  CHECK(answers[2]["result"] == "late");
  f.peer->receive(R"([{"jsonrpc":"2.0","method":"n"},{"jsonrpc":"2.0","method":"m"}])");
  CHECK(f.channel.sent.empty());
  f.peer->receive("[]");
  CHECK(f.take().is_object());
}

TEST_CASE("peer: a cancelled MCP call in a batch leaves no entry") {
  Fixture f(true);
  f.peer->receive(R"([{"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc":"2.0","id":2,"method":"b"}])");
  f.cancel("1");
  f.service.held["b"].result(Json::object());
  f.service.held["a"].drop();
  CHECK(f.take().size() == 1);
}

TEST_CASE("peer: idle is told once nothing is in flight") {
  Fixture f;
  f.request("1", "a");
  CHECK(f.channel.idles == 0);
  f.service.held["a"].result(Json());
  CHECK(f.channel.idles == 1);
  f.request("2", "echo");
  CHECK(f.channel.idles == 2);
}

TEST_CASE("peer: an answer keeps its distance from the last notification") {
  Fixture f(true);
  f.channel.gap = std::chrono::milliseconds(10'000);
  f.request("1", "a");
  f.service.held["a"].notify("n", Json::object());
  f.service.held["a"].result(Json(1));
  CHECK(f.channel.sent.size() == 1);
  CHECK(f.peer->in_flight() == 1);
  REQUIRE(f.later.size() == 1);
  f.later.front()();
  CHECK(f.channel.sent.size() == 2);
  f.request("2", "b");  // no notification, no delay
  f.service.held["b"].result(Json(1));
  CHECK(f.channel.sent.size() == 3);
  f.request("3", "c");  // cancelled while it waits
  f.service.held["c"].notify("n", Json::object());
  f.service.held["c"].result(Json(1));
  f.cancel("3");
  f.later.back()();
  CHECK(f.channel.sent.size() == 4);
  CHECK(f.group->in_flight == 0);
}

TEST_CASE("peer: congestion and its end reach the producer") {
  Fixture f;
  f.request("1", "a");
  int drained = 0;
  f.service.held["a"].on_drained([&] { ++drained; });
  f.channel.full = true;
  CHECK(f.service.held["a"].congested());
  f.channel.full = false;
  f.peer->drained();
  f.peer->drained();
  CHECK(drained == 2);
  f.service.held["a"].result(Json());
  f.peer->drained();
  CHECK(drained == 2);
}

TEST_CASE("peer: too many answers to nothing end the connection (J13)") {
  Fixture f;
  for (uint32_t i = 0; i < f.group->limits.max_unknown_responses; ++i) {
    CHECK(f.channel.cuts == 0);
    f.peer->receive(R"({"jsonrpc":"2.0","id":1,"result":{}})");
  }
  CHECK(f.channel.cuts == 1);
  CHECK(f.channel.sent.empty());
}
