#include "core/engine/session_prompt.h"

#include <algorithm>
#include <utility>

namespace kvasir {
namespace {

constexpr uint32_t kSinks = 4;        // first tokens that attention leans on whatever they say (compression.md)
constexpr uint32_t kAnswerShare = 4;  // an answer is promised at most 1/4 of the context
constexpr uint32_t kWindowSlack = 8;  // a window slides by 1/8 of the context at once, so that it slides seldom

struct Tools {
  const TextTools& text;
  const EngineLimits& limits;
};

Result<PreparedPrompt> encode_all(const Prompt& prompt, const Tools& tools) {
  PreparedPrompt out;
  const TrustedText rendered = KVASIR_TRY(render_messages(prompt, tools.text, out));
  Encoded encoded = KVASIR_TRY(tools.text.tokenizer->encode(rendered, {.add_special = true}));
  if (encoded.ids.empty())
    return Failure{Code::kInvalidArgument, "the chat template made an empty prompt of these messages"};
  out.tokens = std::move(encoded.ids);
  out.dropped_bytes = encoded.dropped_bytes;
  out.context_text = rendered.text();
  return out;
}

/// The stored ids with what the template adds to their text behind them, or all of it anew, and why.
Result<PreparedPrompt> continue_session(const Prompt& prompt, const Tools& tools, const ContextFacts& facts) {
  const Tokenizer& tokenizer = *tools.text.tokenizer;
  const bool same_model = prompt.history_model.empty() || prompt.history_model == facts.fingerprint;
  if (same_model) {
    KVASIR_TRY(check_ids(prompt.history_tokens, tokenizer, tools.limits.max_prompt_tokens));
    for (const ContextStage& stage : prompt.history_stages) {
      KVASIR_TRY(check_ids(stage.tokens, tokenizer, tools.limits.max_prompt_tokens));
    }
    KVASIR_TRY(check_stages(prompt.history_stages, prompt.history_tokens, 0));
  }
  if (prompt.kind == Prompt::Kind::kTokens) {
    if (!same_model) {
      return Failure{Code::kInvalidArgument,
                     "another model made this session's tokens, so its answer cannot go on: give prompt or messages"};
    }
    PreparedPrompt out;
    out.tokens = prompt.history_tokens;
    out.context_text = prompt.history_text;
    out.stages = prompt.history_stages;
    return out;
  }
  PreparedPrompt out;
  const TrustedText rendered = KVASIR_TRY(render_messages(prompt, tools.text, out));
  const bool fresh = prompt.history_tokens.empty();
  if (fresh || !same_model || !rendered.text().starts_with(prompt.history_text)) {
    out = KVASIR_TRY(encode_all(prompt, tools));
    if (fresh) return out;
    out.history_rewritten = true;
    out.history_note = same_model ? "the chat template writes the earlier conversation differently now"
                                  : "the earlier tokens are another model's";
    return out;
  }
  Encoded rest = KVASIR_TRY(tokenizer.encode(rendered.suffix(prompt.history_text.size()), {.prefix_space = false}));
  out.tokens = prompt.history_tokens;
  out.stages = prompt.history_stages;
  out.tokens.insert(out.tokens.end(), rest.ids.begin(), rest.ids.end());
  out.dropped_bytes = rest.dropped_bytes;
  out.context_text = rendered.text();
  return out;
}

struct Budget {
  uint32_t context = 0;
  uint32_t answer = 0;
  bool holds(size_t tokens) const noexcept { return tokens + answer <= context; }
  uint32_t prompt() const noexcept { return context - answer; }
};

Failure too_long(size_t tokens, const Budget& budget, const std::string& why) {
  return {Code::kTooLarge, "the prompt has " + std::to_string(tokens) + " tokens and the context holds " +
                               std::to_string(budget.context) + ", of which the answer needs " +
                               std::to_string(budget.answer) + ": " + why};
}

size_t leading_system(const std::vector<ChatMessage>& messages) {
  return static_cast<size_t>(std::ranges::find_if(messages, [](const auto& m) { return m.role != "system"; }) -
                             messages.begin());
}

/// Whole turns go, oldest first: a conversation goes on with a user's message, and the last message always stays.
Result<void> drop_oldest(const Prompt& prompt, const Tools& tools, const Budget& budget, PreparedPrompt& out) {
  if (prompt.kind != Prompt::Kind::kMessages) {
    return Failure{
        Code::kInvalidArgument,
        "overflow \"truncate_oldest\" removes whole messages and this prompt has none: use \"sliding_window\""};
  }
  const size_t system = leading_system(prompt.messages);
  std::vector<size_t> starts;  // where a shorter conversation may begin
  for (size_t i = system + 1; i < prompt.messages.size(); ++i) {
    if (prompt.messages[i].role == "user") starts.push_back(i);
  }
  const size_t before = out.tokens.size();
  const auto shortened = [&](size_t start) {
    Prompt shorter = prompt;
    shorter.messages.erase(shorter.messages.begin() + static_cast<std::ptrdiff_t>(system),
                           shorter.messages.begin() + static_cast<std::ptrdiff_t>(start));
    return encode_all(shorter, tools);
  };
  size_t low = 0;
  size_t high = starts.size();
  std::optional<PreparedPrompt> best;
  while (low < high) {
    const size_t middle = (low + high) / 2;
    PreparedPrompt candidate = KVASIR_TRY(shortened(starts[middle]));
    if (!budget.holds(candidate.tokens.size())) {
      low = middle + 1;
      continue;
    }
    best = std::move(candidate);
    high = middle;
  }
  if (!best) return too_long(before, budget, "even the last message alone is too long, shorten it");
  out.tokens = std::move(best->tokens);
  out.stages.clear();
  out.truncated = Truncated{.policy = OverflowPolicy::kTruncateOldest,
                            .removed_tokens = before - std::min(before, out.tokens.size()),
                            .removed_messages = starts[low] - system};
  return {};
}

/// Tokens that a window never passes: the system message's, at least the sinks.
size_t pinned_tokens(const Prompt& prompt, const Tools& tools, const std::vector<TokenId>& tokens) {
  Prompt system = prompt;
  system.messages.resize(leading_system(prompt.messages));
  if (system.messages.empty()) return kSinks;
  const auto alone = encode_all(system, tools);
  if (!alone) return kSinks;  // a template that wants a user's message too
  const auto same = std::ranges::mismatch(alone->tokens, tokens).in1 - alone->tokens.begin();
  return std::max<size_t>(kSinks, static_cast<size_t>(same));
}

Result<void> slide_window(const Prompt& prompt, const Tools& tools, const Budget& budget, PreparedPrompt& out) {
  const size_t before = out.tokens.size();
  if (!out.stages.empty()) {  // what a compression kept cannot be computed alone: begin with the whole conversation
    if (prompt.kind != Prompt::Kind::kMessages) return too_long(before, budget, "give a new message, or compress it again");
    PreparedPrompt whole = KVASIR_TRY(encode_all(prompt, tools));
    out.tokens = std::move(whole.tokens);
    out.stages.clear();
  }
  const size_t pinned = std::min(pinned_tokens(prompt, tools, out.tokens), before);
  const size_t slack = budget.context / kWindowSlack;
  const size_t kept = budget.prompt() - std::min<size_t>(slack, budget.prompt() / 2);
  if (pinned >= kept) return too_long(before, budget, "the system message alone fills it, shorten it");
  if (out.tokens.size() > kept) {
    out.tokens.erase(out.tokens.begin() + static_cast<std::ptrdiff_t>(pinned),
                     out.tokens.end() - static_cast<std::ptrdiff_t>(kept - pinned));
  }
  out.truncated = Truncated{
      .policy = OverflowPolicy::kSlidingWindow, .removed_tokens = before - std::min(before, out.tokens.size()), .removed_messages = 0};
  return {};
}

}  // namespace

Result<PreparedPrompt> prepare_generation(const Generate& request, const TextTools& tools, const EngineLimits& limits,
                                          const ContextFacts& facts) {
  const Tools with{tools, limits};
  PreparedPrompt out = request.prompt.in_session ? KVASIR_TRY(continue_session(request.prompt, with, facts))
                                                 : KVASIR_TRY(prepare_prompt(request.prompt, tools, limits, true));
  const Budget whole{.context = facts.context, .answer = std::min(request.max_tokens, facts.context / kAnswerShare)};
  Budget budget = whole;  // what a compression left where it was is at higher positions than its number of tokens
  budget.context = std::min(budget.context, facts.positions - std::min(facts.positions, position_shift(out.stages)));
  budget.answer = std::min(budget.answer, budget.context);
  if (request.overflow != OverflowPolicy::kError && !budget.holds(out.tokens.size())) {
    if (request.overflow == OverflowPolicy::kCompress) {
      return too_long(out.tokens.size(), budget, "the session has to be compressed first");
    }
    if (request.overflow == OverflowPolicy::kTruncateOldest) {
      KVASIR_TRY(drop_oldest(request.prompt, with, whole, out));
    } else {
      KVASIR_TRY(slide_window(request.prompt, with, whole, out));
    }
    if (request.prompt.in_session && !request.prompt.history_tokens.empty()) out.history_rewritten = true;
    out.history_note = "the conversation is longer than the context";
  }
  return out;
}

Result<PreparedPrompt> prepare_compression(const CompressContext& request, const TextTools& tools,
                                           const EngineLimits& limits, const ContextFacts& facts) {
  if (request.prompt.history_tokens.empty()) return Failure{Code::kInvalidArgument, "there is nothing to compress yet"};
  if (!request.prompt.history_model.empty() && request.prompt.history_model != facts.fingerprint) {
    return Failure{Code::kInvalidArgument, "another model made this session's tokens: go on with it before it is compressed"};
  }
  return continue_session(request.prompt, {tools, limits}, facts);
}

}  // namespace kvasir
