// From a request's prompt to checked token ids: template, tokeniser, limits. Pure functions, run on the side worker
// because a big prompt takes its time; the only code of the engine that sees messages.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/engine/engine.h"
#include "core/engine/messages.h"
#include "core/engine/reasoning_format.h"
#include "core/text/chat_template.h"
#include "core/text/tokenizer.h"

namespace kvasir {

/// What a model knows about text, borrowed from a loaded model or from its header alone.
struct TextTools {
  const Tokenizer* tokenizer = nullptr;
  const ChatTemplate* chat_template = nullptr;  ///< may be absent
};

struct PreparedPrompt {
  std::vector<TokenId> tokens;
  uint64_t dropped_bytes = 0;
  std::optional<ReasoningFormat> reasoning = {};  ///< for a conversation, if the model can think
  std::string opened = {};                        ///< of that format, by the template
  std::vector<std::string> ignored = {};          ///< what the caller gave for the template and it does not read
  // As GenerateResult reports them:
  std::string context_text;
  bool history_rewritten = false;
  std::string history_note;
  std::optional<Truncated> truncated;
  std::vector<ContextStage> stages;  ///< that `tokens` goes on from
};

/// Everything that can be refused without the model's weights: limits, token ids, stop strings, overflow policy.
/// Errors: kInvalidArgument, kTooLarge, kUnsupported; the message says what to change.
Result<void> check_generate(const Generate& request, const EngineLimits& limits);
/// The ids that the prompt stands for. `add_special`: raw text gets BOS as the metadata says; counting adds none.
Result<PreparedPrompt> prepare_prompt(const Prompt& prompt, const TextTools& tools, const EngineLimits& limits,
                                      bool add_special);

/// What score_text computes: all ids, and from which on they are scored (at least 1: the first has no context).
struct PreparedScore {
  std::vector<TokenId> tokens;
  uint32_t first_scored = 1;
};
Result<PreparedScore> prepare_score(const ScoreText& request, const TextTools& tools, const EngineLimits& limits);

Result<CountResult> count_tokens(const CountTokens& request, const TextTools& tools, const EngineLimits& limits);
Result<TokenizeResult> tokenize(const Tokenize& request, const TextTools& tools);
Result<DetokenizeResult> detokenize(const Detokenize& request, const TextTools& tools);

/// The conversation as the chat template writes it; what else it means goes into `out`.
Result<TrustedText> render_messages(const Prompt& prompt, const TextTools& tools, PreparedPrompt& out);
/// Errors: kTooLarge (more than `most`), kInvalidArgument (an id outside the vocabulary, with its index).
Result<void> check_ids(const std::vector<TokenId>& tokens, const Tokenizer& tokenizer, uint64_t most);

/// The messages as the JSON array that templates read.
std::string messages_to_json(const std::vector<ChatMessage>& messages);

}  // namespace kvasir
