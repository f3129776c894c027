// When a running call says something, and what: turns the engine's progress and text into the params of
// notifications/progress (protocol.md §7, decisions.md 27). The first at once, then at most about ten a second, at least
// one every five seconds; `progress` always grows; the deltas in _meta["dev.kvasir/delta"], joined, are the text.
// Pure: time comes in. Owned by one call; io thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "core/base/clock.h"
#include "core/engine/messages.h"
#include "rpc/json.h"

namespace kvasir::mcp {

inline constexpr const char* kDeltaKey = "dev.kvasir/delta";

class ProgressMeter {
 public:
  /// `with_message`: the client's version knows the field (2025-03-26). `max_tokens` counts into `total`.
  ProgressMeter(rpc::Json token, bool with_message, uint64_t max_tokens);

  void note(const Progress& progress);
  void note(const TextDelta& delta);

  /// The params to send now, if it is time. `last`: the answer follows, so waiting text goes now whatever the pace.
  std::optional<rpc::Json> due(TimePoint now, bool last);
  /// How long until due() may have something, if nothing is noted meanwhile.
  std::chrono::milliseconds wait(TimePoint now) const;
  std::optional<TimePoint> last_sent() const noexcept { return last_sent_; }

 private:
  bool is_due(TimePoint now, bool last) const;
  rpc::Json take();
  std::string message() const;
  uint64_t position_milli() const;

  rpc::Json token_;
  bool with_message_;
  uint64_t max_tokens_;
  Phase phase_ = Phase::kQueued;
  uint64_t done_ = 0, total_ = 0;
  bool heard_ = false;          ///< the engine said where the call stands
  uint64_t prompt_tokens_ = 0;  ///< known since prefill
  uint64_t text_tokens_ = 0;
  std::string text_;  ///< not sent yet
  bool text_started_ = false;
  bool news_ = true;         ///< something to say beside the heartbeat
  uint64_t last_milli_ = 0;  ///< thousandths, so that a heartbeat can grow without a token
  std::optional<TimePoint> last_sent_;
};

}  // namespace kvasir::mcp
