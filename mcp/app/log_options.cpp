#include "mcp/app/log_options.h"

namespace kvasir::app {

Result<log::Options> log_options(const Options& options, log::Level quiet_level) {
  log::Options out;
  out.level = quiet_level;
  if (options.has("log-level")) {
    auto level = log::parse_level(options.text("log-level"));
    if (!level) return Failure{Code::kInvalidArgument, "--log-level: " + level.error().message};
    out.level = *level;
  }
  const std::string format = options.text("log-format");
  if (format != "text" && format != "json") {
    return Failure{Code::kInvalidArgument, "--log-format: '" + format + "' is neither text nor json"};
  }
  out.format = format == "json" ? log::Format::kJson : log::Format::kText;
  return out;
}

}  // namespace kvasir::app
