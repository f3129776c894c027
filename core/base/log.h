// The log facade: one line per event, `event key=value`, to stderr and (when opened) a rotating file; never to stdout,
// which belongs to results and protocol messages. No prompt text or tokens above debug level. Thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "core/base/result.h"

namespace kvasir::log {

enum class Level { kDebug, kInfo, kWarn, kError, kOff };
enum class Format { kText, kJson };

struct Options {
  Level level = Level::kInfo;
  Format format = Format::kText;
  std::string file;  ///< rotating log file; empty: none
};

/// Opens the sinks. Without this call only warnings and errors reach stderr, as text.
Result<void> open(const Options& options);
void write(Level level, std::string_view message);
inline void debug(std::string_view m) { write(Level::kDebug, m); }
inline void info(std::string_view m) { write(Level::kInfo, m); }
inline void warn(std::string_view m) { write(Level::kWarn, m); }
inline void error(std::string_view m) { write(Level::kError, m); }
/// The last line at error level since the start of this process; empty if none. For `doctor`.
std::string last_error();
Result<Level> parse_level(std::string_view name);

}  // namespace kvasir::log
