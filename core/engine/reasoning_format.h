// How a family of models tells its thinking from its answer (decisions.md 19), and what of it a prompt has opened
// already. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/text/chat_template.h"
#include "core/text/tokenizer.h"
#include "core/text/trusted_text.h"

namespace kvasir {

struct ReasoningFormat {
  enum class Kind : uint8_t {
    kTags,     ///< one thought between two tags, before the answer
    kHarmony,  ///< gpt-oss: messages with a channel each, any number of them
  };
  Kind kind = Kind::kTags;
  std::string open, close;             ///< kTags
  std::string label = {};              ///< kTags: a word that the model writes behind `open`, no part of the thought
  std::vector<std::string> cuts = {};  ///< kTags: what ends a thought without its tag, and belongs to the answer
};

/// The format whose tags the vocabulary has as tokens, else the one that the chat template (may be null) speaks of.
std::optional<ReasoningFormat> find_reasoning_format(const Tokenizer& tokenizer, const ChatTemplate* chat_template);

/// What the prompt's end has opened and left open, in the template's own words and not in a user's: the tag, the
/// beginning of a Harmony message; empty if nothing.
std::string opened_by_prompt(const TrustedText& rendered, const ReasoningFormat& format);

/// What to put into the model's mouth to end a thought.
std::string end_of_thought(const ReasoningFormat& format);

/// The words of the Harmony format, in the order of HarmonyMarker.
enum class HarmonyMarker : uint8_t { kStart, kChannel, kConstrain, kMessage, kEnd, kReturn, kCall };
const std::vector<std::string>& harmony_markers();

}  // namespace kvasir
