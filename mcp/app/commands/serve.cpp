// kvasir serve: HTTP and WebSocket on one port.
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <memory>

#include "core/base/log.h"
#include "mcp/app/commands/commands.h"
#include "mcp/app/local_host.h"
#include "mcp/app/serving.h"
#include "mcp/app/store_options.h"

namespace kvasir::app {
namespace {

const OptionSpec kHost{"host", OptionKind::kText, "ADDRESS", "127.0.0.1",
                       "address to listen on; off loopback a token is required"};
const OptionSpec kPort{"port", OptionKind::kWhole, "N", "8080", "port; 0 picks a free one"};
const OptionSpec kReadyFile{"ready-file", OptionKind::kText, "FILE", "",
                            "gets the line `listening on URL` once that is true"};
const OptionSpec kToken{"token", OptionKind::kText, "SECRET", "",
                        "bearer token that clients must send (better: KVASIR_TOKEN)"};
const OptionSpec kAllowOrigin{"allow-origin", OptionKind::kList, "ORIGIN", "",
                              "web page origin that may call, besides loopback ones; repeatable"};
const OptionSpec kAllowHost{"allow-host", OptionKind::kList, "NAME", "",
                            "Host header to accept, besides loopback names; repeatable"};

/// Whole or not at all: whoever waits for the file reads it the moment it appears.
Result<void> write_ready_file(const std::string& path, const std::string& line) {
  const std::string partial = path + ".tmp";
  {
    std::ofstream out(partial, std::ios::trunc);
    out << line << '\n';
    if (!out.flush()) return Failure{Code::kIo, "cannot write " + partial};
  }
  if (std::rename(partial.c_str(), path.c_str()) != 0) return Failure{Code::kIo, "cannot write " + path};
  return {};
}

Result<rpc::ListenOptions> listen_options(const Options& options) {
  rpc::ListenOptions out;
  out.host = options.text("host");
  if (options.whole("port") > UINT16_MAX) return Failure{Code::kInvalidArgument, "--port: at most 65535"};
  out.port = static_cast<uint16_t>(options.whole("port"));
  out.token = options.text("token");
  out.allowed_origins = options.list("allow-origin");
  out.allowed_hosts = options.list("allow-host");
  return out;
}

/// `kvasir mcp` and `kvasir rpc` then share this process, unless another one is the host already.
std::unique_ptr<LocalHost> be_host(const Context& context) {
  auto local = LocalHost::create(context.paths.data_dir, {});
  if (!local) log::warn("not the host of kvasir mcp and kvasir rpc: " + local.error().message);
  if (local && !*local) log::info("another process is the host of kvasir mcp and kvasir rpc");
  return local ? std::move(*local) : nullptr;
}

Result<void> run(Context& context) {
  const auto listen = KVASIR_TRY(listen_options(context.options));
  const auto serving = KVASIR_TRY(Serving::create(context));
  const uint16_t port = KVASIR_TRY(serving->server().listen(listen));
  const auto local = context.options.enabled("no-store") ? nullptr : be_host(context);
  if (local) local->serve(*serving);
  const bool bracket = listen.host.find(':') != std::string::npos;
  const std::string line =
      "listening on http://" + (bracket ? "[" + listen.host + "]" : listen.host) + ":" + std::to_string(port);
  context.console->note(line);
  if (const std::string file = context.options.text("ready-file"); !file.empty())
    KVASIR_TRY(write_ready_file(file, line));
  return serving->run();
}

}  // namespace

Command serve_command() {
  return {{"serve", "HTTP and WebSocket server: /mcp /ws /rpc /health /metrics",
           server_options({&kHost, &kPort, &kReadyFile, &kToken, &kAllowOrigin, &kAllowHost, &kPreload, &kNoStore}), "",
           false, false,
           "  kvasir serve\n  kvasir serve --port 0 --ready-file /tmp/kvasir.url\n  KVASIR_TOKEN=... kvasir serve "
           "--host 0.0.0.0 --allow-host my.name"},
          run};
}

}  // namespace kvasir::app
