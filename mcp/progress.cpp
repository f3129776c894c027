#include "mcp/progress.h"

#include <algorithm>
#include <utility>

namespace kvasir::mcp {
namespace {

using std::chrono::milliseconds;
constexpr milliseconds kPace{100};
constexpr milliseconds kHeartbeat{4500};  // below the promised 5 s by more than a timer is ever late
constexpr uint64_t kMilli = 1000;

rpc::Json from_milli(uint64_t milli) {
  if (milli % kMilli == 0) return milli / kMilli;
  return static_cast<double>(milli) / static_cast<double>(kMilli);
}

}  // namespace

ProgressMeter::ProgressMeter(rpc::Json token, bool with_message, uint64_t max_tokens)
    : token_(std::move(token)), with_message_(with_message), max_tokens_(max_tokens) {}

void ProgressMeter::note(const Progress& progress) {
  // Decoding is told by its text; the engine's own decode progress only keeps the count.
  const bool changed = !heard_ || phase_ != progress.phase || done_ != progress.done || total_ != progress.total;
  heard_ = true;
  phase_ = progress.phase;
  done_ = progress.done;
  total_ = progress.total;
  if (phase_ == Phase::kPrefill) prompt_tokens_ = progress.total;
  if (phase_ == Phase::kDecode) text_tokens_ = std::max(text_tokens_, progress.done);
  if (changed && phase_ != Phase::kDecode) news_ = true;
}

void ProgressMeter::note(const TextDelta& delta) {
  heard_ = true;
  phase_ = Phase::kDecode;
  text_tokens_ = std::max(text_tokens_, delta.tokens_so_far);
  text_ += delta.text;
  if (!text_.empty()) news_ = true;
}

bool ProgressMeter::is_due(TimePoint now, bool last) const {
  if (last) return !text_.empty();
  if (!last_sent_) return true;
  if (!text_.empty() && !text_started_) return true;  // the first words do not wait for the pace
  const auto since = now - *last_sent_;
  return since >= (news_ ? kPace : kHeartbeat);
}

std::optional<rpc::Json> ProgressMeter::due(TimePoint now, bool last) {
  if (!is_due(now, last)) return std::nullopt;
  rpc::Json params = take();
  last_sent_ = now;
  return params;
}

milliseconds ProgressMeter::wait(TimePoint now) const {
  if (is_due(now, false)) return milliseconds{0};
  const auto left = *last_sent_ + (news_ ? kPace : kHeartbeat) - now;
  return std::chrono::ceil<milliseconds>(left);
}

uint64_t ProgressMeter::position_milli() const {
  switch (phase_) {
    case Phase::kQueued:
    case Phase::kLoading:
      return 0;
    case Phase::kPrefill:
      return done_ * kMilli;
    case Phase::kDecode:
      return (prompt_tokens_ + text_tokens_) * kMilli;
  }
  return 0;
}

std::string ProgressMeter::message() const {
  switch (phase_) {
    case Phase::kQueued:
      return !heard_ ? "queued" : done_ == 0 ? "queued, next" : "queued, " + std::to_string(done_) + " ahead";
    case Phase::kLoading:
      return "loading " + std::to_string(done_) + " %";
    case Phase::kPrefill:
      return "reading the prompt, " + std::to_string(done_) + " of " + std::to_string(total_) + " tokens";
    case Phase::kDecode:
      return text_;
  }
  return "";
}

rpc::Json ProgressMeter::take() {
  const uint64_t position = position_milli();
  last_milli_ = last_sent_ ? std::max(position, last_milli_ + 1) : position;
  rpc::Json params{{"progressToken", token_}, {"progress", from_milli(last_milli_)}};
  if (prompt_tokens_ > 0) params["total"] = prompt_tokens_ + max_tokens_;
  if (std::string words = message(); with_message_ && !words.empty()) params["message"] = std::move(words);
  if (!text_.empty()) {
    params["_meta"][kDeltaKey] = std::exchange(text_, {});
    text_started_ = true;
  }
  news_ = false;
  return params;
}

}  // namespace kvasir::mcp
