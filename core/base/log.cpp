#include "core/base/log.h"

#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <mutex>
#include <vector>

namespace kvasir::log {
namespace {

constexpr size_t kLogFileBytes = 4u << 20;
constexpr size_t kLogFiles = 3;

struct State {
  std::mutex mutex;
  std::shared_ptr<spdlog::logger> logger;  // guarded by mutex
  std::string last_error;                  // guarded by mutex
};

// The one process-wide object of the program: a log line must reach stderr from anywhere, also before main's set-up.
State& state() {
  static State s;
  return s;
}

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::kDebug: return spdlog::level::debug;
    case Level::kInfo: return spdlog::level::info;
    case Level::kWarn: return spdlog::level::warn;
    case Level::kError: return spdlog::level::err;
    case Level::kOff: return spdlog::level::off;
  }
  return spdlog::level::info;
}

std::string json_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20) {
      out += fmt::format("\\u{:04x}", byte);
    } else {
      out += c;
    }
  }
  return out;
}

std::shared_ptr<spdlog::logger> make_logger(std::vector<spdlog::sink_ptr> sinks, Level level, Format format) {
  auto logger = std::make_shared<spdlog::logger>("kvasir", sinks.begin(), sinks.end());
  logger->set_level(to_spdlog(level));
  logger->set_pattern(format == Format::kJson ? R"({"time":"%Y-%m-%dT%H:%M:%S.%e","level":"%l","event":"%v"})"
                                              : "%Y-%m-%d %H:%M:%S.%e %l %v");
  logger->flush_on(spdlog::level::info);
  return logger;
}

bool g_json = false;  // guarded by State::mutex

}  // namespace

Result<void> open(const Options& options) {
  try {
    std::vector<spdlog::sink_ptr> sinks{std::make_shared<spdlog::sinks::stderr_sink_mt>()};
    if (!options.file.empty()) {
      sinks.push_back(std::make_shared<spdlog::sinks::rotating_file_sink_mt>(options.file, kLogFileBytes, kLogFiles));
    }
    auto logger = make_logger(std::move(sinks), options.level, options.format);
    const std::lock_guard lock(state().mutex);
    state().logger = std::move(logger);
    g_json = options.format == Format::kJson;
    return {};
  } catch (const spdlog::spdlog_ex& e) {
    return Failure{Code::kIo, "cannot open the log file " + options.file + ": " + e.what()};
  }
}

void write(Level level, std::string_view message) {
  std::shared_ptr<spdlog::logger> logger;
  bool json = false;
  {
    const std::lock_guard lock(state().mutex);
    if (!state().logger) {
      state().logger = make_logger({std::make_shared<spdlog::sinks::stderr_sink_mt>()}, Level::kWarn, Format::kText);
    }
    logger = state().logger;
    json = g_json;
    if (level == Level::kError) state().last_error = message;
  }
  logger->log(to_spdlog(level), "{}", json ? json_escaped(message) : std::string(message));
}

std::string last_error() {
  const std::lock_guard lock(state().mutex);
  return state().last_error;
}

Result<Level> parse_level(std::string_view name) {
  if (name == "debug") return Level::kDebug;
  if (name == "info") return Level::kInfo;
  if (name == "warn") return Level::kWarn;
  if (name == "error") return Level::kError;
  if (name == "off") return Level::kOff;
  return Failure{Code::kInvalidArgument, "unknown log level '" + std::string(name) + "'; use debug, info, warn, error or off"};
}

}  // namespace kvasir::log
