#include "sessions/turn_builder.h"

#include <charconv>
#include <iterator>

namespace kvasir {
namespace {

constexpr std::string_view kAssistant = "assistant";
constexpr std::string_view kCompression = "compression";  // no message: conversation() leaves it out

std::span<const Turn> since_last_whole(std::span<const Turn> path) {
  for (size_t i = path.size(); i > 0; --i) {
    if (path[i - 1].whole) return path.subspan(i - 1);
  }
  return path;
}

Turn message_turn(const ChatMessage& message) {
  Turn turn;
  turn.role = message.role;
  turn.content = message.content;
  turn.message_json = message.json;
  return turn;
}

}  // namespace

Result<SessionContext> session_context(std::span<const Turn> path) {
  SessionContext out;
  for (const auto& turn : since_last_whole(path)) {
    if (turn.role != kCompression || turn.message_json.empty()) {
      out.tokens.insert(out.tokens.end(), turn.tokens.begin(), turn.tokens.end());
      continue;
    }
    ContextStage stage;
    stage.edit = KVASIR_TRY(edit_from_text(turn.message_json));
    if (auto fits = check_edit(stage.edit, out.tokens.size(), 0); !fits) return Failure{Code::kCorrupt, fits.error().message};
    const auto rest = out.tokens.begin() + stage.edit.source_tokens;
    std::vector<TokenId> next = kept_tokens(stage.edit, out.tokens);
    next.insert(next.end(), rest, out.tokens.end());
    stage.tokens.assign(out.tokens.begin(), rest);
    out.stages.push_back(std::move(stage));
    out.tokens = std::move(next);
  }
  return out;
}

std::vector<TokenId> context_tokens(std::span<const Turn> path) {
  auto context = session_context(path);
  return context ? std::move(context->tokens) : std::vector<TokenId>();
}

std::string context_text(std::span<const Turn> path) {
  std::string out;
  for (const auto& turn : since_last_whole(path)) out += turn.rendered;
  return out;
}

std::vector<ChatMessage> conversation(std::span<const Turn> path) {
  std::vector<ChatMessage> out;
  for (const auto& turn : path) {
    if (turn.role == kCompression) continue;
    // Two assistant turns in a row are one answer that went on (no prompt continues the assistant's turn).
    if (turn.role == kAssistant && !out.empty() && out.back().role == kAssistant) {
      out.back().content += turn.content;
    } else {
      out.push_back({turn.role, turn.content, turn.message_json});
    }
  }
  return out;
}

Prompt session_prompt(std::span<const Turn> path, std::span<const ChatMessage> added) {
  Prompt prompt;
  if (auto context = session_context(path)) {
    prompt.history_tokens = std::move(context->tokens);
    prompt.history_stages = std::move(context->stages);
  }
  prompt.history_text = context_text(path);
  prompt.in_session = true;
  if (added.empty()) {
    prompt.kind = Prompt::Kind::kTokens;
    prompt.tokens = prompt.history_tokens;
    return prompt;
  }
  prompt.kind = Prompt::Kind::kMessages;
  prompt.messages = conversation(path);
  prompt.messages.insert(prompt.messages.end(), added.begin(), added.end());
  return prompt;
}

std::vector<Turn> answered_turns(std::span<const Turn> path, std::span<const ChatMessage> added,
                                 const GenerateResult& result, const std::string& parameters_json) {
  std::vector<Turn> out;
  out.reserve(added.size() + 1);
  for (const auto& message : added) out.push_back(message_turn(message));

  Turn answer;
  answer.role = kAssistant;
  answer.content = result.text;
  answer.parameters_json = parameters_json;
  const size_t prompt_size = result.context_tokens.size() - result.tokens_in_context;
  const auto prompt_end = result.context_tokens.begin() + static_cast<std::ptrdiff_t>(prompt_size);
  answer.tokens.assign(prompt_end, result.context_tokens.end());
  answer.rendered = result.answer_text;
  if (out.empty() && result.history_rewritten) {
    answer.whole = true;
    answer.tokens = result.context_tokens;
    answer.rendered = result.context_text + result.answer_text;
  } else if (!out.empty()) {
    // The prompt's part belongs to the last message: all of it if history was replaced, else what was added.
    Turn& last = out.back();
    const size_t known = result.history_rewritten ? 0 : context_tokens(path).size();
    last.whole = result.history_rewritten;
    last.tokens.assign(result.context_tokens.begin() + static_cast<std::ptrdiff_t>(known), prompt_end);
    last.rendered = result.context_text.substr(result.history_rewritten ? 0 : context_text(path).size());
  }
  out.push_back(std::move(answer));
  return out;
}

Turn compression_turn(const ContextEdit& edit, const std::string& strategy) {
  Turn turn;
  turn.role = kCompression;
  turn.content = strategy;
  turn.message_json = to_text(edit);
  return turn;
}

Turn compression_turn(std::vector<TokenId> tokens, std::string text, const std::string& strategy) {
  Turn turn;
  turn.role = kCompression;
  turn.content = strategy;
  turn.tokens = std::move(tokens);
  turn.rendered = std::move(text);
  turn.whole = true;
  return turn;
}

std::optional<size_t> turn_at(std::span<const Turn> path, std::string_view number) {
  size_t value = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
  if (error != std::errc() || end != number.data() + number.size() || value > path.size()) return std::nullopt;
  return value;
}

}  // namespace kvasir
