#include "core/engine/prompt_builder.h"

#include <algorithm>
#include <string>
#include <utility>

#include "core/text/utf8_stream.h"

namespace kvasir {
namespace {

void append_json_string(std::string& out, std::string_view raw) {
  constexpr std::string_view kHex = "0123456789abcdef";
  const std::string text = to_valid_utf8(raw);
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20) {
      out += "\\u00";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

}  // namespace

Result<void> check_ids(const std::vector<TokenId>& tokens, const Tokenizer& tokenizer, uint64_t most) {
  if (tokens.size() > most) {
    return Failure{Code::kTooLarge, std::to_string(tokens.size()) + " tokens were given; the limit is " + std::to_string(most)};
  }
  const auto bad = std::ranges::find_if(tokens, [&](TokenId id) { return !tokenizer.valid(id); });
  if (bad == tokens.end()) return {};
  return Failure{Code::kInvalidArgument, "token " + std::to_string(*bad) + " at index " +
                                             std::to_string(bad - tokens.begin()) + " is not in the vocabulary (0 to " +
                                             std::to_string(tokenizer.vocab_size() - 1) + ")"};
}

Result<TrustedText> render_messages(const Prompt& prompt, const TextTools& tools, PreparedPrompt& out) {
  if (prompt.messages.empty()) return Failure{Code::kInvalidArgument, "messages is empty: give at least one message"};
  if (tools.chat_template == nullptr) {
    return Failure{Code::kInvalidArgument,
                   "this model has no chat template: set raw to true and give the text to continue as prompt"};
  }
  const Tokenizer& tokenizer = *tools.tokenizer;
  TemplateInput input;
  input.messages_json = messages_to_json(prompt.messages);
  input.tools_json = prompt.tools_json;
  input.extra_json = prompt.template_extra_json;
  input.enable_thinking = prompt.enable_thinking;
  if (const auto bos = tokenizer.bos()) input.bos_token = tokenizer.token_text(*bos);
  if (const auto eos = tokenizer.eos()) input.eos_token = tokenizer.token_text(*eos);
  TrustedText rendered = KVASIR_TRY(tools.chat_template->render(input));
  out.ignored = KVASIR_TRY(tools.chat_template->unused(input));
  out.reasoning = find_reasoning_format(tokenizer, tools.chat_template);
  if (out.reasoning) out.opened = opened_by_prompt(rendered, *out.reasoning);
  return rendered;
}

namespace {

/// BOS as the metadata says, then prefix, suffix and what lies between to be written. The halves of a file are no
/// words of a sentence: no space is put before either.
Result<Encoded> fill_in_the_middle(const std::string& before, const std::string& after, const Tokenizer& tokenizer) {
  const auto fill = tokenizer.fill_tokens();
  if (!fill) {
    return Failure{Code::kUnsupported,
                   "suffix: this model has no tokens for filling in the middle; use a code model that has them, or leave "
                   "suffix out"};
  }
  const Encoded left = KVASIR_TRY(tokenizer.encode(before, {.prefix_space = false}));
  const Encoded right = KVASIR_TRY(tokenizer.encode(after, {.prefix_space = false}));
  Encoded out;
  out.dropped_bytes = left.dropped_bytes + right.dropped_bytes;
  if (tokenizer.adds_bos() && tokenizer.bos()) out.ids.push_back(*tokenizer.bos());
  out.ids.push_back(fill->prefix);
  out.ids.insert(out.ids.end(), left.ids.begin(), left.ids.end());
  out.ids.push_back(fill->suffix);
  out.ids.insert(out.ids.end(), right.ids.begin(), right.ids.end());
  out.ids.push_back(fill->middle);
  return out;
}

}  // namespace

std::string messages_to_json(const std::vector<ChatMessage>& messages) {
  std::string out = "[";
  for (const ChatMessage& message : messages) {
    if (out.size() > 1) out += ',';
    if (!message.json.empty()) {
      out += message.json;
      continue;
    }
    out += "{\"role\":";
    append_json_string(out, message.role);
    out += ",\"content\":";
    append_json_string(out, message.content);
    out += '}';
  }
  return out + "]";
}

Result<void> check_generate(const Generate& request, const EngineLimits& limits) {
  if (request.stop.size() > limits.max_stop_strings) {
    return Failure{Code::kInvalidArgument, "stop has " + std::to_string(request.stop.size()) + " strings; at most " +
                                               std::to_string(limits.max_stop_strings) + " are allowed"};
  }
  size_t bytes = 0;
  for (const std::string& stop : request.stop) {
    if (stop.empty()) return Failure{Code::kInvalidArgument, "stop contains an empty string"};
    bytes += stop.size();
  }
  if (bytes > limits.max_stop_bytes) {
    return Failure{Code::kInvalidArgument, "the stop strings have " + std::to_string(bytes) + " bytes; at most " +
                                               std::to_string(limits.max_stop_bytes) + " are allowed"};
  }
  if (request.sampling.logit_bias.size() > limits.max_logit_bias) {
    return Failure{Code::kInvalidArgument, "logit_bias has " + std::to_string(request.sampling.logit_bias.size()) +
                                               " entries; at most " + std::to_string(limits.max_logit_bias) + " are allowed"};
  }
  return {};
}

Result<PreparedPrompt> prepare_prompt(const Prompt& prompt, const TextTools& tools, const EngineLimits& limits,
                                      bool add_special) {
  const Tokenizer& tokenizer = *tools.tokenizer;
  PreparedPrompt out;
  if (prompt.kind == Prompt::Kind::kTokens) {
    KVASIR_TRY(check_ids(prompt.tokens, tokenizer, limits.max_prompt_tokens));
    if (prompt.tokens.empty()) return Failure{Code::kInvalidArgument, "tokens is empty: give at least one token"};
    out.tokens = prompt.tokens;
    return out;
  }
  Encoded encoded;
  if (prompt.kind == Prompt::Kind::kText && prompt.suffix) {
    encoded = KVASIR_TRY(fill_in_the_middle(prompt.text, *prompt.suffix, tokenizer));
  } else if (prompt.kind == Prompt::Kind::kText) {
    encoded = KVASIR_TRY(tokenizer.encode(prompt.text, {.add_special = add_special}));
    if (add_special && encoded.ids.empty()) {
      if (!tokenizer.bos()) {
        return Failure{Code::kInvalidArgument, "the prompt is empty, and this model has no token to begin with: give some text"};
      }
      encoded.ids.push_back(*tokenizer.bos());
    }
  } else {
    const TrustedText rendered = KVASIR_TRY(render_messages(prompt, tools, out));
    encoded = KVASIR_TRY(tokenizer.encode(rendered, {.add_special = true}));
    if (encoded.ids.empty()) return Failure{Code::kInvalidArgument, "the chat template made an empty prompt of these messages"};
  }
  out.tokens = std::move(encoded.ids);
  out.dropped_bytes = encoded.dropped_bytes;
  return out;
}

Result<PreparedScore> prepare_score(const ScoreText& request, const TextTools& tools, const EngineLimits& limits) {
  const Tokenizer& tokenizer = *tools.tokenizer;
  PreparedScore out;
  if (request.has_tokens && request.prompt.empty()) {
    KVASIR_TRY(check_ids(request.tokens, tokenizer, limits.max_prompt_tokens));
    out.tokens = request.tokens;
    if (request.score_from >= out.tokens.size() && request.score_from > 0) {
      return Failure{Code::kInvalidArgument, "score_from lies behind the last token"};
    }
    out.first_scored = std::max(1U, request.score_from);
  } else {
    // BOS as the metadata says, then prompt and text apart: the ids of `text` must not depend on the prompt.
    Encoded prompt = KVASIR_TRY(tokenizer.encode(request.prompt, {}));
    if (const auto bos = tokenizer.bos(); bos && tokenizer.adds_bos()) out.tokens.push_back(*bos);
    out.tokens.insert(out.tokens.end(), prompt.ids.begin(), prompt.ids.end());
    std::vector<TokenId> scored = request.tokens;
    if (request.has_tokens) {
      KVASIR_TRY(check_ids(scored, tokenizer, limits.max_prompt_tokens));
    } else {
      scored = KVASIR_TRY(tokenizer.encode(request.text, {.prefix_space = false})).ids;
    }
    out.first_scored = std::max<uint32_t>(1, static_cast<uint32_t>(out.tokens.size()));
    out.tokens.insert(out.tokens.end(), scored.begin(), scored.end());
  }
  if (out.tokens.empty()) return Failure{Code::kInvalidArgument, "there is nothing to score: give text or tokens"};
  return out;
}

Result<CountResult> count_tokens(const CountTokens& request, const TextTools& tools, const EngineLimits& limits) {
  const PreparedPrompt prompt = KVASIR_TRY(prepare_prompt(request.prompt, tools, limits, false));
  CountResult out{.id = request.id, .tokens = prompt.tokens.size(), .per_message = {}, .template_overhead = {},
                  .dropped_bytes = prompt.dropped_bytes, .ignored = prompt.ignored};
  if (request.prompt.kind != Prompt::Kind::kMessages) return out;
  uint64_t contents = 0;
  for (const ChatMessage& message : request.prompt.messages) {
    const Encoded encoded = KVASIR_TRY(tools.tokenizer->encode(message.content, {}));
    out.per_message.push_back(encoded.ids.size());
    contents += encoded.ids.size();
  }
  // A template may drop or trim what the messages say, so the difference can be below zero; then there is no overhead.
  out.template_overhead = out.tokens - std::min(out.tokens, contents);
  return out;
}

Result<TokenizeResult> tokenize(const Tokenize& request, const TextTools& tools) {
  Encoded encoded = KVASIR_TRY(tools.tokenizer->encode(
      request.text, {.add_special = request.add_special, .parse_special = request.parse_special}));
  TokenizeResult out{.id = request.id, .tokens = std::move(encoded.ids), .pieces = {}, .dropped_bytes = encoded.dropped_bytes};
  if (!request.pieces) return out;
  for (const TokenId id : out.tokens) {
    const bool control = tools.tokenizer->kind(id) == TokenKind::kControl;
    out.pieces.emplace_back(control ? tools.tokenizer->token_text(id) : tools.tokenizer->token_bytes(id));
  }
  return out;
}

Result<DetokenizeResult> detokenize(const Detokenize& request, const TextTools& tools) {
  const std::string bytes = KVASIR_TRY(tools.tokenizer->decode(request.tokens, true));
  return DetokenizeResult{.id = request.id, .text = to_valid_utf8(bytes)};
}

}  // namespace kvasir
