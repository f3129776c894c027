// A Host over a FakeEngine and a MemoryServer, for unit tests.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "mcp/host.h"
#include "tests/support/fake_engine.h"
#include "tests/support/memory_server.h"

namespace kvasir::test {

struct HostFixture {
  explicit HostFixture(FakeEngineOptions engine_options = {}, mcp::HostOptions host_options = {})
      : server(host_options.limits) {
    auto fake = std::make_unique<FakeEngine>([this](auto delay, auto task) { server.after(delay, std::move(task)); },
                                             engine_options);
    engine = fake.get();
    host_options.clock = &server.clock();
    if (host_options.default_engine.model.empty()) host_options.default_engine.model = "fake";
    host = std::make_unique<mcp::Host>(std::move(fake), std::move(host_options));
    host->attach(server);
  }

  MemoryServer server;
  FakeEngine* engine = nullptr;
  std::unique_ptr<mcp::Host> host;
};

inline constexpr const char* kMeta =
    R"("_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}})";

}  // namespace kvasir::test
