// gpt-oss's Harmony format:
// `<|start|>assistant<|channel|>analysis<|message|>...<|end|><|start|>assistant<|channel|>final
// <|message|>...<|return|>`. Channel analysis is thought, the others are answer; a message to a tool is answer with its
// header, so that a caller can read the call. Owned by one generation; engine thread.
#pragma once

#include "core/engine/marker_scanner.h"
#include "core/engine/reasoning_reader.h"

namespace kvasir {

class HarmonyReader final : public ReasoningReader {
 public:
  HarmonyReader(const Tokenizer& tokenizer, std::string_view opened, bool controls);
  bool in_thought() const noexcept override;
  void push(TokenId token, std::vector<Said>& out) override;
  void finish(std::vector<Said>& out) override;
  bool holds_back() const noexcept override {
    return scanner_.holds_back() || (state_ == State::kHeader && (role_follows_ || header_.size() > given_));
  }
  bool left_out_markers() const noexcept override { return left_out_; }

 private:
  enum class State : uint8_t { kHeader, kBody, kBetween };
  void take(std::vector<Said>& out);
  void on_marker(HarmonyMarker marker, std::vector<Said>& out);
  void on_text(const std::string& bytes, std::vector<Said>& out);
  void begin_header();
  void begin_body(std::vector<Said>& out);
  bool may_be_header() const;

  MarkerScanner scanner_;
  std::vector<MarkerScanner::Item> items_;
  State state_ = State::kHeader;
  std::string header_;         ///< what was said since <|start|>, markers as written
  size_t given_ = 0;           ///< of it: by the prompt
  bool role_follows_ = false;  ///< the header began with <|start|>, so a role comes first
  Voice voice_ = Voice::kAnswer;
  bool left_out_ = false;
};

}  // namespace kvasir
