#include "core/engine/text_assembler.h"

#include <algorithm>
#include <utility>

#include "core/engine/marker_scanner.h"

namespace kvasir {
namespace {

constexpr std::string_view kBlank = " \t\r\n";
constexpr std::string_view kParagraph = "\n\n";

void trim(std::string& text) {
  text.erase(0, std::min(text.find_first_not_of(kBlank), text.size()));
  text.erase(text.find_last_not_of(kBlank) + 1);
}

}  // namespace

TextAssembler::TextAssembler(const Tokenizer& tokenizer, TextAssemblerOptions options)
    : tokenizer_(tokenizer), controls_(options.controls), stops_(std::move(options.stops)) {
  if (!options.reasoning) return;
  reader_ = make_reasoning_reader(*options.reasoning, tokenizer, options.opened, options.controls);
  thinks_ = reader_->in_thought();
  if (thinks_) reasoning_.emplace();
}

std::string TextAssembler::push(TokenId token) {
  if (!reader_) return answer(text_of_token(tokenizer_, token, controls_));
  reader_->push(token, said_);
  return take();
}

std::string TextAssembler::take() {
  std::string out;
  for (const Said& said : said_) {
    if (said.voice == Voice::kThought) {
      if (!thinks_) out += stops_.push(utf8_.flush());
      think(said.bytes);
      continue;
    }
    if (thinks_) end_thought();
    if (said.voice == Voice::kNextMessage) between_ = true;
    out += answer(said.bytes);
  }
  said_.clear();
  return out;
}

void TextAssembler::think(std::string_view bytes) {
  if (!reasoning_) reasoning_.emplace();
  if (!thinks_ && !reasoning_->empty()) *reasoning_ += kParagraph;
  thinks_ = true;
  *reasoning_ += utf8_.push(bytes);
}

void TextAssembler::end_thought() {
  *reasoning_ += utf8_.flush();
  trim(*reasoning_);
  thinks_ = false;
  between_ = true;
}

std::string TextAssembler::answer(std::string_view bytes) {
  std::string text = utf8_.push(bytes);
  const size_t blank = std::min(text.find_first_not_of(kBlank), text.size());
  const bool says = blank < text.size();
  if (between_) {
    // The blank lines between a thought and its answer belong to neither; two messages are two paragraphs.
    text.erase(0, blank);
    between_ = !says;
    if (says && answered_) text.insert(0, kParagraph);
  }
  answered_ = answered_ || says;
  return stops_.push(text);
}

std::string TextAssembler::finish() {
  std::string text;
  if (reader_) {
    reader_->finish(said_);
    text = take();
  }
  if (thinks_) end_thought();
  text += stops_.push(utf8_.flush());
  if (!stops_.matched()) text += stops_.flush();
  return text;
}

}  // namespace kvasir
