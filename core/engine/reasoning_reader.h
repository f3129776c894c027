// Tells what a model thinks from what it answers, token by token. A marker may be one token or be spelled by several,
// be split anywhere, or never come: no text is lost, and none is said twice. Owned by one generation; engine thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/engine/reasoning_format.h"

namespace kvasir {

enum class Voice : uint8_t {
  kThought,
  kAnswer,
  kNextMessage,  ///< no text: the answer goes on in another message
};
struct Said {
  Voice voice = Voice::kAnswer;
  std::string bytes;
};

class ReasoningReader {
 public:
  virtual ~ReasoningReader() = default;
  /// Whether what comes now is thought; before the first token: whether the prompt opened one.
  virtual bool in_thought() const noexcept = 0;
  /// What these bytes make certain, appended to `out`. An empty piece begins a thought, or the answer behind it.
  virtual void push(TokenId token, std::vector<Said>& out) = 0;
  /// The end of the generation: what was held back.
  virtual void finish(std::vector<Said>& out) = 0;
  /// Whether what was pushed stands for more than what was handed out yet.
  virtual bool holds_back() const noexcept = 0;
  /// Whether the model said more than what was handed out: then the text is not what its tokens stand for.
  virtual bool left_out_markers() const noexcept = 0;
};

/// `opened` is what opened_by_prompt() found; `controls`: the answer shows control tokens as they are written.
/// `tokenizer` outlives the reader.
std::unique_ptr<ReasoningReader> make_reasoning_reader(const ReasoningFormat& format, const Tokenizer& tokenizer,
                                                       std::string_view opened, bool controls);

}  // namespace kvasir
