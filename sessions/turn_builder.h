// Between stored turns and the engine's prompts: which messages and tokens a session's history stands for, and which
// turns a result becomes. Pure functions.
#pragma once

#include <span>
#include <vector>

#include "core/engine/messages.h"
#include "sessions/session_types.h"

namespace kvasir {

/// What the model is to have in its cache: tokens, and the compressions that made them fewer than were said.
struct SessionContext {
  std::vector<ContextStage> stages;
  std::vector<TokenId> tokens;
};
/// The context that the path stands for: from the last `whole` turn on. Errors: kCorrupt: a compression that this build
/// cannot read.
Result<SessionContext> session_context(std::span<const Turn> path);
/// Its tokens; none if it cannot be read.
std::vector<TokenId> context_tokens(std::span<const Turn> path);
/// The text those ids were made from.
std::string context_text(std::span<const Turn> path);
/// The conversation as messages; an assistant turn that goes on is joined to the one before.
std::vector<ChatMessage> conversation(std::span<const Turn> path);
/// The prompt that appends `added` to the path; with nothing added, the assistant's turn goes on from the tokens.
Prompt session_prompt(std::span<const Turn> path, std::span<const ChatMessage> added);
/// The turns that `added` and its answer become. The answer's turn is last.
std::vector<Turn> answered_turns(std::span<const Turn> path, std::span<const ChatMessage> added,
                                 const GenerateResult& result, const std::string& parameters_json);
/// A turn without a message: from here on the context is what the edit leaves of it.
Turn compression_turn(const ContextEdit& edit, const std::string& strategy);
/// A turn without a message: from here on the context is these tokens, which stand for `text`.
Turn compression_turn(std::vector<TokenId> tokens, std::string text, const std::string& strategy);
/// Index into `path` (0: before the first turn) that a turn number names, or nothing.
std::optional<size_t> turn_at(std::span<const Turn> path, std::string_view number);

}  // namespace kvasir
