// One compression of a session from step to step: choose what stays, compare, probe, judge, swap. Each step asks the
// engine and goes on with its answer; the session changes only at the end, and only if nobody else changed it meanwhile.
// Used by compress_session and by the overflow policy `compress`. io thread.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "mcp/tools/tool.h"
#include "sessions/compression/plan.h"

namespace kvasir::mcp {

struct CompressionRequest {
  std::string session_id;
  Strategy strategy = Strategy::kSlidingWindow;
  std::string strategy_name = "sliding_window";
  std::optional<double> target_ratio;           ///< share to remove; default: half
  std::optional<uint64_t> target_tokens;
  std::optional<std::string> focus;
  std::optional<double> max_quality_loss;       ///< nats per token; absent: the default, and recency must be beaten
  bool judge = true;                            ///< false: whatever it costs (the overflow policy)
  bool dry_run = false;
};

inline constexpr double kDefaultQualityLoss = 0.1;

/// The first step; the last one's result is the report. Errors: those of plan_compression().
Result<SessionStep> begin_compression(CompressionRequest request, SessionDetails details);

}  // namespace kvasir::mcp
