// Tokens to streamed text: bytes, whole code points, reasoning told apart, stop strings. Owned by one generation;
// engine thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/engine/reasoning_reader.h"
#include "core/engine/stop_matcher.h"
#include "core/text/tokenizer.h"
#include "core/text/utf8_stream.h"

namespace kvasir {

struct TextAssemblerOptions {
  std::vector<std::string> stops;
  std::optional<ReasoningFormat> reasoning;  ///< absent: thinking stays in the text
  std::string opened = {};                   ///< by the prompt, see opened_by_prompt()
  bool controls = false;                     ///< the answer shows control tokens as they are written
};

class TextAssembler {
 public:
  /// `tokenizer` outlives this.
  TextAssembler(const Tokenizer& tokenizer, TextAssemblerOptions options);

  /// The text that this token makes certain; whole code points. Stop strings are looked for in the answer, not in the
  /// reasoning before it.
  std::string push(TokenId token);
  /// The end of the generation: everything held back.
  std::string finish();
  const std::optional<std::string>& stop_sequence() const noexcept { return stops_.matched(); }
  /// What was thought so far; absent if the model did not think.
  const std::optional<std::string>& reasoning() const noexcept { return reasoning_; }
  bool in_reasoning() const noexcept { return thinks_; }
  /// Whether the tokens so far stand for text that is not certain yet.
  bool holds_back() const noexcept {
    return !utf8_.empty() || stops_.holds_back() || (reader_ && reader_->holds_back());
  }
  /// Whether the tokens stand for more than reasoning and answer.
  bool left_out_markers() const noexcept { return reader_ && reader_->left_out_markers(); }

 private:
  std::string take();
  void think(std::string_view bytes);
  void end_thought();
  std::string answer(std::string_view bytes);

  const Tokenizer& tokenizer_;
  bool controls_;
  std::unique_ptr<ReasoningReader> reader_;
  std::vector<Said> said_;
  bool thinks_ = false;
  bool between_ = false;   ///< blanks that come now belong to neither side
  bool answered_ = false;  ///< something but blanks was answered
  Utf8Stream utf8_;
  StopMatcher stops_;
  std::optional<std::string> reasoning_;
};

}  // namespace kvasir
