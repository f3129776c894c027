#include "core/engine/reasoning_reader.h"

#include <optional>
#include <utility>

#include "core/engine/harmony_reader.h"
#include "core/engine/marker_scanner.h"

namespace kvasir {
namespace {

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

/// One thought between two tags, before anything but blanks was said.
class TagsReader final : public ReasoningReader {
 public:
  TagsReader(const ReasoningFormat& format, const Tokenizer& tokenizer, std::string_view opened, bool controls)
      : tokenizer_(tokenizer),
        controls_(controls),
        label_(format.label),
        scanner_(tokenizer, markers(format), {.spelled = true, .controls = controls}) {
    std::vector<Said> said_by_prompt;
    scanner_.push_text(opened, items_);
    take(said_by_prompt);
  }

  bool in_thought() const noexcept override { return state_ == State::kThought; }

  void push(TokenId token, std::vector<Said>& out) override {
    if (state_ == State::kAnswer) {
      out.push_back({Voice::kAnswer, std::string(text_of_token(tokenizer_, token, controls_))});
      return;
    }
    scanner_.push(token, items_);
    take(out);
  }

  void finish(std::vector<Said>& out) override {
    on_text(scanner_.take_held(), out);
    if (state_ == State::kThought && !label_.empty() && !label_.starts_with(pending_)) {
      out.push_back({Voice::kThought, pending_});
    }
  }

  bool holds_back() const noexcept override { return scanner_.holds_back() || !pending_.empty(); }
  bool left_out_markers() const noexcept override { return false; }

 private:
  enum class State : uint8_t { kStart, kThought, kAnswer };
  static constexpr size_t kOpen = 0, kClose = 1;  ///< behind them: what cuts a thought off

  static std::vector<std::string> markers(const ReasoningFormat& format) {
    std::vector<std::string> out{format.open, format.close};
    out.insert(out.end(), format.cuts.begin(), format.cuts.end());
    return out;
  }

  void take(std::vector<Said>& out) {
    for (const auto& item : items_) {
      if (state_ == State::kStart && item.marker == kOpen) {
        state_ = State::kThought;
        out.push_back({Voice::kThought, {}});
      } else if (state_ == State::kThought && item.marker && *item.marker >= kClose) {
        state_ = State::kAnswer;
        out.push_back({Voice::kAnswer, *item.marker == kClose ? std::string() : item.bytes});
      } else {
        on_text(item.bytes, out);
      }
    }
    items_.clear();
    if (state_ == State::kAnswer) on_text(scanner_.take_held(), out);
  }

  void on_text(const std::string& bytes, std::vector<Said>& out) {
    if (bytes.empty()) return;
    if (state_ == State::kStart && !is_blank(bytes)) state_ = State::kAnswer;
    if (state_ != State::kThought) {
      out.push_back({Voice::kAnswer, bytes});
      return;
    }
    pending_ += bytes;
    if (!label_.empty()) {
      if (pending_.size() < label_.size() && label_.starts_with(pending_)) return;
      if (pending_.starts_with(label_)) pending_.erase(0, label_.size());
      label_.clear();
    }
    out.push_back({Voice::kThought, std::exchange(pending_, {})});
  }

  const Tokenizer& tokenizer_;
  bool controls_;
  std::string label_;    ///< still expected
  std::string pending_;  ///< may be the beginning of the label
  MarkerScanner scanner_;
  std::vector<MarkerScanner::Item> items_;
  State state_ = State::kStart;
};

}  // namespace

std::unique_ptr<ReasoningReader> make_reasoning_reader(const ReasoningFormat& format, const Tokenizer& tokenizer,
                                                       std::string_view opened, bool controls) {
  if (format.kind == ReasoningFormat::Kind::kHarmony) {
    return std::make_unique<HarmonyReader>(tokenizer, opened, controls);
  }
  return std::make_unique<TagsReader>(format, tokenizer, opened, controls);
}

}  // namespace kvasir
