#include "core/engine/text_assembler.h"

#include <algorithm>
#include <array>
#include <utility>

namespace kvasir {
namespace {

constexpr std::string_view kBlank = " \t\r\n";

void trim(std::string& text) {
  text.erase(0, std::min(text.find_first_not_of(kBlank), text.size()));
  text.erase(text.find_last_not_of(kBlank) + 1);
}

constexpr auto kTags = std::to_array<std::pair<const char*, const char*>>(
    {{"<think>", "</think>"}, {"[THINK]", "[/THINK]"}, {"<seed:think>", "</seed:think>"}});

/// How many bytes at the end of `text` may be the beginning of `tag`.
size_t partial_tag(std::string_view text, std::string_view tag) {
  for (size_t n = std::min(text.size(), tag.size() - 1); n > 0; --n) {
    if (text.ends_with(tag.substr(0, n))) return n;
  }
  return 0;
}

}  // namespace

std::optional<ReasoningTags> find_reasoning_tags(const Tokenizer& tokenizer, const ChatTemplate* chat_template) {
  for (const auto& [open, close] : kTags) {
    if (tokenizer.find(open) && tokenizer.find(close)) return ReasoningTags{open, close};
  }
  for (const auto& [open, close] : kTags) {
    if (chat_template != nullptr && chat_template->mentions(close)) return ReasoningTags{open, close};
  }
  return std::nullopt;
}

TextAssembler::TextAssembler(const Tokenizer& tokenizer, TextAssemblerOptions options)
    : tokenizer_(tokenizer), tags_(std::move(options.reasoning)), stops_(std::move(options.stops)) {
  if (!tags_) return;
  open_ = tokenizer.find(tags_->open);
  close_ = tokenizer.find(tags_->close);
  state_ = options.starts_in_reasoning ? State::kReasoning : State::kStart;
  if (options.starts_in_reasoning) reasoning_.emplace();
}

std::string TextAssembler::push(TokenId token) {
  std::string_view bytes = tokenizer_.token_bytes(token);
  if (tags_ && token == open_) bytes = tags_->open;
  if (tags_ && token == close_) bytes = tags_->close;
  switch (state_) {
    case State::kStart:
      return start(bytes);
    case State::kReasoning:
      return reason(bytes);
    case State::kAfterReasoning:
    case State::kAnswer:
      break;
  }
  return answer(token == open_ || token == close_ ? tokenizer_.token_bytes(token) : bytes);
}

/// Before anything but blanks was said: a thought may begin.
std::string TextAssembler::start(std::string_view bytes) {
  held_ += bytes;
  std::string out;
  if (const size_t blank = std::min(held_.find_first_not_of(kBlank), held_.size()); blank > 0) {
    out = answer(std::string_view(held_).substr(0, blank));
    held_.erase(0, blank);
  }
  if (held_.empty() || (held_.size() < tags_->open.size() && tags_->open.starts_with(held_))) return out;
  const std::string said = std::exchange(held_, {});
  if (!said.starts_with(tags_->open)) {
    state_ = State::kAnswer;
    return out + answer(said);
  }
  state_ = State::kReasoning;
  reasoning_.emplace();
  return out + reason(std::string_view(said).substr(tags_->open.size()));
}

std::string TextAssembler::reason(std::string_view bytes) {
  held_ += bytes;
  if (const size_t end = held_.find(tags_->close); end != std::string::npos) {
    const std::string said = std::exchange(held_, {});
    *reasoning_ += utf8_.push(said.substr(0, end)) + utf8_.flush();
    trim(*reasoning_);
    state_ = State::kAfterReasoning;
    return answer(std::string_view(said).substr(end + tags_->close.size()));
  }
  const size_t sure = held_.size() - partial_tag(held_, tags_->close);
  *reasoning_ += utf8_.push(std::string_view(held_).substr(0, sure));
  held_.erase(0, sure);
  return {};
}

std::string TextAssembler::answer(std::string_view bytes) {
  std::string text = utf8_.push(bytes);
  if (state_ == State::kAfterReasoning) {
    // The blank lines between a thought and its answer belong to neither.
    text.erase(0, std::min(text.find_first_not_of(kBlank), text.size()));
    if (!text.empty()) state_ = State::kAnswer;
  }
  return stops_.push(text);
}

std::string TextAssembler::finish() {
  const std::string held = std::exchange(held_, {});
  if (state_ == State::kReasoning) {
    *reasoning_ += utf8_.push(held) + utf8_.flush();
    trim(*reasoning_);
    return {};
  }
  std::string text = answer(held);
  text += stops_.push(utf8_.flush());
  if (!stops_.matched()) text += stops_.flush();
  return text;
}

}  // namespace kvasir
