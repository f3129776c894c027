#include "mcp/app/front/host_link.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "mcp/app/context.h"
#include "rpc/net/stdio_framing.h"
#include "rpc/parse.h"

extern char** environ;  // NOLINT: POSIX

namespace kvasir::app {
namespace {

using std::chrono::milliseconds;
using SteadyTime = std::chrono::steady_clock;

constexpr milliseconds kPoll{10};
constexpr milliseconds kSpawnAgain{500};
constexpr size_t kMaxReply = 64u << 10;

/// A process of its own session that keeps nothing of ours open: it outlives us and our client.
Result<void> spawn_host(const HostPlace& place, const std::vector<std::string>& command) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, place.error_file().c_str(), O_WRONLY | O_CREAT | O_TRUNC,
                                   S_IRUSR | S_IWUSR);
  posix_spawn_file_actions_addchdir_np(&actions, place.folder().c_str());
  posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, static_cast<short>(POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK));
  std::vector<char*> arguments;
  for (const auto& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  pid_t pid = 0;
  // The file that runs now, even if its name leads to another one since.
  const int code = posix_spawn(&pid, "/proc/self/exe", &actions, &attributes, arguments.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (code != 0)
    return Failure{Code::kUnavailable, "cannot start a kvasir host: " + std::generic_category().message(code)};
  return {};
}

std::string last_words(const HostPlace& place) {
  std::ifstream file(place.error_file());
  std::string line, last;
  for (int i = 0; i < 1000 && std::getline(file, line); ++i)
    if (!line.empty()) last = line;
  return last;
}

bool wait_for(int fd, short events, SteadyTime::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - SteadyTime::now());
    if (left.count() <= 0) return false;
    pollfd one{fd, events, 0};
    const int got = ::poll(&one, 1, static_cast<int>(left.count()));
    if (got > 0) return true;
    if (got < 0 && errno != EINTR) return false;
  }
}

/// The host's reply, or nothing if it went away before.
std::optional<rpc::Json> exchange_greeting(int fd, const mcp::Greeting& greeting, SteadyTime::time_point deadline) {
  const std::string text = rpc::dump(mcp::to_json(greeting));
  const std::string framed = "Content-Length: " + std::to_string(text.size()) + "\r\n\r\n" + text;
  if (::send(fd, framed.data(), framed.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(framed.size()))
    return std::nullopt;
  std::optional<rpc::Json> reply;
  const rpc::Limits limits;
  rpc::StdioFraming framing(rpc::Framing::kDetect, limits,
                            {[&](std::string_view message) {
                               if (auto json = rpc::parse_json(message, limits)) reply = std::move(*json);
                             },
                             [](const rpc::RpcError&) {}});
  // Byte by byte up to the end of the reply: what follows belongs to the conversation.
  for (size_t i = 0; i < kMaxReply && !reply && wait_for(fd, POLLIN, deadline); ++i) {
    char byte = 0;
    const ssize_t got = ::recv(fd, &byte, 1, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return std::nullopt;
    framing.feed({&byte, 1});
  }
  return reply;
}

}  // namespace

Result<mcp::Build> own_build() {
  struct stat facts{};
  if (::stat("/proc/self/exe", &facts) != 0) return Failure{Code::kIo, "cannot look at /proc/self/exe"};
  return mcp::Build{std::string(product_version()),
                    int64_t{facts.st_mtim.tv_sec} * 1'000'000'000 + facts.st_mtim.tv_nsec};
}

Result<OwnedFd> connect_to_host(const HostPlace& place, const HostLinkOptions& options) {
  const auto deadline = SteadyTime::now() + options.patience;
  auto spawn_at = SteadyTime::now();
  while (SteadyTime::now() < deadline) {
    auto connected = KVASIR_TRY(place.connect());
    if (connected) {
      const auto reply = exchange_greeting(connected->get(), options.greeting, deadline);
      if (reply && reply->is_object()) {
        if (const auto ready = reply->find("ready"); ready != reply->end() && *ready == true)
          return std::move(*connected);
        if (const auto refused = reply->find("refused"); refused != reply->end() && refused->is_string())
          return Failure{Code::kUnsupported, refused->get<std::string>()};
      }
      // It leaves (an older build, or at the end of its idle time): another one comes.
      std::this_thread::sleep_for(kPoll);
      continue;
    }
    if (SteadyTime::now() >= spawn_at) {
      KVASIR_TRY(spawn_host(place, options.host_command));
      spawn_at = SteadyTime::now() + kSpawnAgain;
    }
    std::this_thread::sleep_for(kPoll);
  }
  const std::string words = last_words(place);
  return Failure{Code::kUnavailable, "no kvasir host came up within " +
                                         std::to_string(options.patience.count() / 1000) + " s" +
                                         (words.empty() ? "" : "; it said: " + words)};
}

}  // namespace kvasir::app
