// The real transports over a FakeEngine: `kvasir_fake_server mcp|rpc` on stdio, `kvasir_fake_server serve PORT` on TCP.
// For trying clients by hand and for tests that need no model; the text and the steering prompts are fake_engine.h's.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "mcp/host.h"
#include "rpc/net/server.h"
#include "tests/support/fake_engine.h"

using namespace kvasir;

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "mcp";
  const char* load = std::getenv("FAKE_LOAD_MS");
  const rpc::Limits limits;
  const auto server = rpc::Server::create(limits);
  test::FakeEngineOptions options;
  options.token_time = std::chrono::milliseconds(50);
  if (load != nullptr) options.load_time = std::chrono::milliseconds(std::strtol(load, nullptr, 10));
  mcp::HostOptions host_options;
  host_options.default_engine.model = "fake";
  mcp::Host host(std::make_unique<test::FakeEngine>(
                     [&](auto delay, auto task) { server->after(delay, std::move(task)); }, options),
                 host_options);
  host.attach(*server);
  if (mode == "serve") {
    const auto port =
        server->listen({.port = static_cast<uint16_t>(argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 0)});
    if (!port) return std::fprintf(stderr, "%s\n", port.error().message.c_str()), 1;
    std::fprintf(stderr, "listening on http://127.0.0.1:%u\n", static_cast<unsigned>(*port));
  } else {
    server->serve_stdio(0, 1, mode == "rpc" ? rpc::Framing::kDetect : rpc::Framing::kLines,
                        mode == "rpc" ? host.json_rpc_service() : host.mcp_service());
  }
  server->run();
  host.shutdown();
  return 0;
}
