// The stdio connection over real pipes, files and /dev/null.
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>

#include "rpc/json.h"
#include "tests/net/server_fixture.h"

using namespace kvasir;
using namespace kvasir::test;
using rpc::Json;

namespace {

std::string call(std::string_view method, std::string_view params = "{}", int id = 1) {
  return R"({"jsonrpc":"2.0","id":)" + std::to_string(id) + R"(,"method":")" + std::string(method) + R"(","params":)" + std::string(params) + "}";
}

/// A server that talks over two pipes, or over what the test gives it.
class Stdio {
 public:
  explicit Stdio(bool mcp = false, rpc::Framing framing = rpc::Framing::kDetect, int in_fd = -1)
      : server(rpc::Server::create({})), service(*server, mcp ? FakeService::mcp_rules() : rpc::Service::Rules{}) {
    std::signal(SIGPIPE, SIG_IGN);  // the program does so too
    std::array<int, 2> requests{}, answers{};
    REQUIRE((::pipe2(requests.data(), O_CLOEXEC) == 0 && ::pipe2(answers.data(), O_CLOEXEC) == 0));
    read_end = in_fd >= 0 ? in_fd : requests[0];
    if (in_fd >= 0) ::close(requests[0]);
    to_server = requests[1];
    from_server = answers[0];
    write_end = answers[1];
    server->serve_stdio(read_end, write_end, framing, service);
    started = std::chrono::steady_clock::now();
    thread = std::thread([this] {
      server->run();
      done = true;
    });
  }
  ~Stdio() {
    server->stop();
    thread.join();
    for (const int fd : {read_end, to_server, from_server, write_end}) {
      if (fd >= 0) ::close(fd);
    }
  }
  void send(std::string_view text) {
    while (!text.empty()) {
      const ssize_t put = ::write(to_server, text.data(), text.size());
      REQUIRE(put > 0);
      text.remove_prefix(static_cast<size_t>(put));
    }
  }
  void end_input() {
    ::close(to_server);
    to_server = -1;
  }
  void stop_reading() {
    ::close(from_server);
    from_server = -1;
  }
  bool fill(std::chrono::milliseconds limit) {
    pollfd wait{from_server, POLLIN, 0};
    if (::poll(&wait, 1, static_cast<int>(limit.count())) <= 0) return false;
    char buffer[65536];
    const ssize_t got = ::read(from_server, buffer, sizeof(buffer));
    if (got > 0) in.append(buffer, static_cast<size_t>(got));
    return got > 0;
  }
  std::string line(std::chrono::milliseconds limit = 5s) {
    while (in.find('\n') == std::string::npos) {
      if (!fill(limit)) return "";
    }
    const size_t end = in.find('\n');
    const std::string out = in.substr(0, end);
    in.erase(0, end + 1);
    return out;
  }
  /// The loop ended by itself; how long after the start.
  bool ends_within(std::chrono::milliseconds limit) {
    return eventually([this] { return done.load(); }, limit);
  }

  std::unique_ptr<rpc::Server> server;
  FakeService service;
  int read_end = -1, to_server = -1, from_server = -1, write_end = -1;
  std::string in;
  std::thread thread;
  std::atomic<bool> done{false};
  std::chrono::steady_clock::time_point started;
};

}  // namespace

TEST_CASE("stdio: lines in, lines out, out of order, blank lines skipped") {
  Stdio stdio;
  stdio.send(call("slow", R"({"ms":30})", 1) + "\r\n\n\n" + call("echo", "[1]", 2) + "\n");
  CHECK(stdio.line() == R"({"jsonrpc":"2.0","id":2,"result":[1]})");
  CHECK(Json::parse(stdio.line())["id"] == 1);
  stdio.send("{broken\n");
  CHECK(Json::parse(stdio.line())["id"].is_null());
  for (const char c : call("echo", "[3]", 3) + "\n") stdio.send(std::string_view(&c, 1));
  CHECK(Json::parse(stdio.line())["id"] == 3);
}

TEST_CASE("stdio: an unparsable or over-long line over MCP is answered without an id, and the next one works") {
  Stdio stdio(true, rpc::Framing::kLines);
  stdio.send("{broken\n");
  const Json broken = Json::parse(stdio.line());
  CHECK(broken["error"]["code"] == rpc::kParseError);
  CHECK_FALSE(broken.contains("id"));
  stdio.send(std::string(5u << 20, 'x') + "\n" + call("echo") + "\n");
  const Json too_long = Json::parse(stdio.line());
  CHECK(too_long["error"]["code"] == rpc::kInvalidRequest);
  CHECK_FALSE(too_long.contains("id"));
  CHECK(Json::parse(stdio.line())["id"] == 1);
}

TEST_CASE("stdio: Content-Length framing is answered in kind") {
  Stdio stdio;
  const std::string body = call("echo", "[\"\xC3\xA9\"]", 4);
  stdio.send("Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  const std::string expected = "{\"jsonrpc\":\"2.0\",\"id\":4,\"result\":[\"\xC3\xA9\"]}";
  while (stdio.in.size() < expected.size() + 22 && stdio.fill(5s)) {
  }
  CHECK(stdio.in == "Content-Length: " + std::to_string(expected.size()) + "\r\n\r\n" + expected);
}

TEST_CASE("stdio: an empty input ends the loop at once") {
  const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  Stdio stdio(true, rpc::Framing::kLines, null);
  CHECK(stdio.ends_within(1s));
}

TEST_CASE("stdio: a file of requests is answered to its end, newline or not") {
  std::FILE* file = std::tmpfile();
  const std::string text = call("echo", "[1]", 1) + "\n" + call("slow", R"({"ms":20})", 2) + "\n" + call("echo", "[3]", 3);
  std::fwrite(text.data(), 1, text.size(), file);
  std::fflush(file);
  std::rewind(file);
  {
    Stdio stdio(false, rpc::Framing::kDetect, ::dup(::fileno(file)));
    CHECK(Json::parse(stdio.line())["id"] == 1);
    CHECK(Json::parse(stdio.line())["id"] == 3);
    CHECK(Json::parse(stdio.line())["result"]["finish_reason"] == "done");
    CHECK(stdio.ends_within(1s));
  }
  std::fclose(file);
}

TEST_CASE("stdio: the end of input cancels what is in flight and ends the loop within 2 s") {
  for (const bool mcp : {false, true}) {
    Stdio stdio(mcp);
    stdio.send(call("slow", R"({"ms":60000})", 1) + "\n" + call("stream", R"({"count":1000000,"interval_ms":1})", 2) + "\n");
    REQUIRE(eventually([&] { return stdio.service.calls == 2; }));
    const auto begin = std::chrono::steady_clock::now();
    stdio.end_input();
    CHECK(stdio.ends_within(2s));
    CHECK(std::chrono::steady_clock::now() - begin < 2s);
    CHECK(stdio.service.cancels == 2);
    std::string cancelled;
    for (std::string line = stdio.line(100ms); !line.empty(); line = stdio.line(100ms)) {
      if (Json::parse(line).contains("result")) cancelled += Json::parse(line).dump();
    }
    CHECK((cancelled.find("cancelled") != std::string::npos) == !mcp);
  }
}

TEST_CASE("stdio: a client that closes its reading end ends the loop") {
  Stdio stdio;
  stdio.send(call("slow", R"({"ms":60000})", 1) + "\n");
  REQUIRE(eventually([&] { return stdio.service.calls == 1; }));
  stdio.stop_reading();
  stdio.send(call("echo") + "\n");
  CHECK(stdio.ends_within(2s));
  CHECK(stdio.service.cancels == 1);
}

TEST_CASE("stdio: a client that does not read pauses the stream; cancelling and leaving still work (L10)") {
  Stdio stdio;
  stdio.send(call("stream", R"({"count":10000000,"bytes":1000})", 1) + "\n");
  CHECK(eventually([&] { return stdio.service.paused >= 1; }));
  CHECK(stdio.server->stats().outbox_bytes < (1u << 20));
  stdio.send(R"({"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":1}})" "\n");
  CHECK(eventually([&] { return stdio.service.cancels == 1; }));
  stdio.end_input();
  CHECK(stdio.ends_within(2s));  // although nobody reads what waits
}

TEST_CASE("stdio: over MCP the answer keeps 10 ms distance from the last progress") {
  Stdio stdio(true);
  stdio.send(call("stream", R"({"count":3})", 1) + "\n");
  for (int i = 0; i < 3; ++i) CHECK(Json::parse(stdio.line())["params"]["index"] == i);
  const auto begin = std::chrono::steady_clock::now();
  CHECK(Json::parse(stdio.line())["result"]["sent"] == 3);
  CHECK(std::chrono::steady_clock::now() - begin > 5ms);
}

TEST_CASE("stdio: stop() answers what it cancels and ends the loop") {
  Stdio stdio;
  stdio.send(call("slow", R"({"ms":60000})", 1) + "\n");
  REQUIRE(eventually([&] { return stdio.service.calls == 1; }));
  stdio.server->stop();
  CHECK(Json::parse(stdio.line())["result"]["finish_reason"] == "cancelled");
  CHECK(stdio.ends_within(2s));
}
