// Tokens to streamed text: bytes, whole code points, reasoning told apart, stop strings. Owned by one generation;
// engine thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/engine/stop_matcher.h"
#include "core/text/chat_template.h"
#include "core/text/tokenizer.h"
#include "core/text/utf8_stream.h"

namespace kvasir {

/// What stands around a model's thinking (decisions.md 19): one token each, or several.
struct ReasoningTags {
  std::string open, close;
};
/// The tags that the vocabulary has as tokens, else those that the chat template (may be null) speaks of.
std::optional<ReasoningTags> find_reasoning_tags(const Tokenizer& tokenizer, const ChatTemplate* chat_template);

struct TextAssemblerOptions {
  std::vector<std::string> stops;
  std::optional<ReasoningTags> reasoning;  ///< absent: thinking stays in the text
  bool starts_in_reasoning = false;        ///< the prompt's template has already opened it
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
  bool in_reasoning() const noexcept { return state_ == State::kReasoning; }

 private:
  enum class State : uint8_t { kStart, kReasoning, kAfterReasoning, kAnswer };
  std::string start(std::string_view bytes);
  std::string reason(std::string_view bytes);
  std::string answer(std::string_view bytes);

  const Tokenizer& tokenizer_;
  std::optional<ReasoningTags> tags_;
  std::optional<TokenId> open_, close_;  ///< tags that are tokens: their bytes may be those of control tokens, none
  State state_ = State::kAnswer;
  std::string held_;  ///< bytes that may be the beginning of a tag
  Utf8Stream utf8_;
  StopMatcher stops_;
  std::optional<std::string> reasoning_;
};

}  // namespace kvasir
