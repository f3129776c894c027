#include "core/engine/text_assembler.h"

#include <utility>

namespace kvasir {
namespace {

constexpr std::string_view kBlank = " \t\r\n";

void trim(std::string& text) {
  text.erase(0, std::min(text.find_first_not_of(kBlank), text.size()));
  text.erase(text.find_last_not_of(kBlank) + 1);
}

}  // namespace

std::optional<ReasoningTags> find_reasoning_tags(const Tokenizer& tokenizer) {
  const auto open = tokenizer.find("<think>");
  const auto close = tokenizer.find("</think>");
  if (!open || !close) return std::nullopt;
  return ReasoningTags{*open, *close};
}

TextAssembler::TextAssembler(const Tokenizer& tokenizer, TextAssemblerOptions options)
    : tokenizer_(tokenizer), tags_(options.reasoning), stops_(std::move(options.stops)) {
  if (!tags_) return;
  state_ = options.starts_in_reasoning ? State::kReasoning : State::kStart;
  if (options.starts_in_reasoning) reasoning_.emplace();
}

std::string TextAssembler::answer(std::string text) {
  if (state_ == State::kAfterReasoning) {
    // The blank lines between a thought and its answer belong to neither.
    text.erase(0, std::min(text.find_first_not_of(kBlank), text.size()));
    if (!text.empty()) state_ = State::kAnswer;
  }
  return stops_.push(text);
}

std::string TextAssembler::push(TokenId token) {
  const std::string_view bytes = tokenizer_.token_bytes(token);
  if (state_ == State::kStart) {
    if (token == tags_->open) {
      state_ = State::kReasoning;
      reasoning_.emplace();
      return {};
    }
    if (bytes.find_first_not_of(kBlank) != std::string_view::npos) state_ = State::kAnswer;
  }
  if (state_ == State::kReasoning) {
    if (token != tags_->close) {
      *reasoning_ += utf8_.push(bytes);
      return {};
    }
    *reasoning_ += utf8_.flush();
    trim(*reasoning_);
    state_ = State::kAfterReasoning;
    return {};
  }
  return answer(utf8_.push(bytes));
}

std::string TextAssembler::finish() {
  if (state_ == State::kReasoning) {
    *reasoning_ += utf8_.flush();
    trim(*reasoning_);
    return {};
  }
  std::string text = answer(utf8_.flush());
  if (!stops_.matched()) text += stops_.flush();
  return text;
}

}  // namespace kvasir
