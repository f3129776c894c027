// Tokens to streamed text: bytes, whole code points, reasoning told apart, stop strings. Owned by one generation;
// engine thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/engine/stop_matcher.h"
#include "core/text/tokenizer.h"
#include "core/text/utf8_stream.h"

namespace kvasir {

/// The tokens around a model's thinking, if its vocabulary has them (decisions.md 19).
struct ReasoningTags {
  TokenId open = 0, close = 0;
};
std::optional<ReasoningTags> find_reasoning_tags(const Tokenizer& tokenizer);

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

 private:
  enum class State : uint8_t { kStart, kReasoning, kAfterReasoning, kAnswer };
  std::string answer(std::string text);

  const Tokenizer& tokenizer_;
  std::optional<ReasoningTags> tags_;
  State state_ = State::kAnswer;
  Utf8Stream utf8_;
  StopMatcher stops_;
  std::optional<std::string> reasoning_;
};

}  // namespace kvasir
