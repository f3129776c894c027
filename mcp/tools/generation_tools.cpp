#include "mcp/tools/generation_tools.h"

#include <array>
#include <cstdio>

namespace kvasir::mcp {
namespace {

// Far above any context, and small enough that a typing error is caught here and not by the clock.
constexpr double kMaxTokens = 1'000'000;
constexpr double kMaxTimeMs = 86'400'000;
constexpr double kMaxTopK = 1'000'000;

Failure refuse(std::string message) {
  return {Code::kInvalidArgument, std::move(message)};
}

FieldTable<GenerateArgs> build_fields() {
  using A = GenerateArgs;
  FieldTable<A> table;
  table
      .add("prompt", &A::prompt, "What to answer: one user message, or with raw the text to continue.",
           {.positional = true})
      .add("max_tokens", &A::max_tokens, "Most new tokens.", {.minimum = 0, .maximum = kMaxTokens, .positional = true})
      .add("temperature", &A::temperature,
           "0 always takes the likeliest token. Default: the model's recommendation, else 0.7.",
           {.minimum = 0, .maximum = 100, .positional = true})
      .add("stream", &A::stream, "Plain JSON-RPC: send the text as it comes.", {.positional = true, .hidden = true})
      .add("messages", &A::messages, "A conversation, instead of prompt.", {.max_items = 10'000})
      .add("tokens", &A::tokens, "Token ids, instead of prompt; used as they are.")
      .add("system", &A::system, "System message before prompt or messages.")
      .add("top_k", &A::top_k, "Keep the k likeliest tokens; 0: off.", {.minimum = 0, .maximum = kMaxTopK})
      .add("top_p", &A::top_p, "Keep the likeliest tokens up to this probability; 1: off.",
           {.minimum = 0, .maximum = 1})
      .add("min_p", &A::min_p, "Keep tokens at least this likely relative to the best; 0: off.",
           {.minimum = 0, .maximum = 1})
      .add("repeat_penalty", &A::repeat_penalty, "Above 1 makes recent tokens less likely; 1: off.",
           {.minimum = 0.01, .maximum = 100})
      .add("frequency_penalty", &A::frequency_penalty, "Per use in the answer so far; 0: off.",
           {.minimum = -100, .maximum = 100})
      .add("presence_penalty", &A::presence_penalty, "Once for tokens already in the answer; 0: off.",
           {.minimum = -100, .maximum = 100})
      .add("logit_bias", &A::logit_bias, "Pairs [token id, bias added to its logit].",
           {.minimum = -1000, .maximum = 1000, .max_items = 4096})
      .add("seed", &A::seed, "Same seed, same answer. Default: drawn, and returned.", {.minimum = 0})
      .add("stop", &A::stop, "Texts that end the answer; not part of it.",
           {.max_bytes = 4096, .min_bytes = 1, .max_items = 64})
      .add("raw", &A::raw, "Continue prompt as bare text, without the chat template.")
      .add("reasoning_budget", &A::reasoning_budget,
           "Most tokens of a thinking model's thought; then it has to answer. Default: no limit.",
           {.minimum = 0, .maximum = kMaxTokens})
      .add("suffix", &A::suffix, "Fill in what belongs between prompt and this text (code models).")
      .add("max_time_ms", &A::max_time_ms, "Return what is there after this time (finish_reason time_limit).",
           {.minimum = 1, .maximum = kMaxTimeMs})
      .add("priority", &A::priority,
           "low, normal or high. When not all fit, lower ones give up their place until the higher are done, and then go "
           "on with the same tokens.",
           {.one_of = {"low", "normal", "high"}})
      .add("overflow", &A::overflow,
           "When the prompt is longer than the context: error (default, says the numbers), truncate_oldest (drops the "
           "oldest messages), sliding_window (keeps beginning and newest tokens) or compress (in a session). What was removed "
           "is in the result.",
           {.max_bytes = 64})
      .add("logprobs", &A::logprobs, "Log-probabilities of each token and of this many alternatives.",
           {.minimum = 0, .maximum = 20})
      .add("return_tokens", &A::return_tokens, "Return the token ids too.")
      .add("ignore_eos", &A::ignore_eos, "Go on to max_tokens after the model's end.")
      .add(
          "session_id", &A::session_id,
          "Conversation of create_session to go on with; prompt or messages are appended, with neither the last answer "
          "goes on.",
          {.max_bytes = 128})
      .add("expected_head", &A::expected_head,
           "In a session: refuse if its head (of the last reply) is another by now; 8 digits are enough.",
           {.max_bytes = 64})
      .add("idempotency_key", &A::idempotency_key,
           "In a session: the same key again gives the first answer again instead of another turn.",
           {.max_bytes = 128, .min_bytes = 1})
      .add("digest_logits", &A::digest_logits, "", {.hidden = true});
  add_template_fields(table, true);
  return table;
}

Result<Prompt> to_prompt(GenerateArgs& args) {
  const int sources = (args.prompt ? 1 : 0) + (args.messages ? 1 : 0) + (args.tokens ? 1 : 0);
  if (sources != 1)
    return refuse(sources == 0 ? "nothing to answer: give one of prompt, messages or tokens"
                               : "give only one of prompt, messages and tokens");
  Prompt prompt;
  if (args.tokens) {
    if (args.tokens->empty()) return refuse("tokens must not be empty");
    if (args.system || args.raw || args.suffix) return refuse("system, raw and suffix do not go with tokens");
    prompt.kind = Prompt::Kind::kTokens;
    prompt.tokens = std::move(*args.tokens);
    return prompt;
  }
  if (args.suffix) {
    if (!args.prompt) return refuse("suffix goes with prompt only: the text before the gap");
    if (args.system) return refuse("system does not go with suffix: there is no chat template to carry it");
    prompt.kind = Prompt::Kind::kText;
    prompt.text = std::move(*args.prompt);
    prompt.suffix = std::move(args.suffix);
    return prompt;
  }
  if (args.raw) {
    if (!args.prompt) return refuse("raw goes with prompt only");
    if (args.system) return refuse("system does not go with raw: there is no chat template to carry it");
    prompt.kind = Prompt::Kind::kText;
    prompt.text = std::move(*args.prompt);
    return prompt;
  }
  prompt.kind = Prompt::Kind::kMessages;
  if (args.messages) {
    if (args.messages->empty()) return refuse("messages must not be empty");
    if (args.system && args.messages->front().role == "system")
      return refuse("system is given twice: as an argument and as messages[0]");
    prompt.messages = std::move(*args.messages);
  } else {
    prompt.messages.push_back({"user", std::move(*args.prompt), ""});
  }
  if (args.system) prompt.messages.insert(prompt.messages.begin(), ChatMessage{"system", std::move(*args.system), ""});
  return prompt;
}

Priority priority_of(std::string_view name) {
  if (name == "low") return Priority::kLow;
  return name == "high" ? Priority::kHigh : Priority::kNormal;
}

Json top_json(const std::vector<std::pair<TokenId, float>>& top) {
  Json list = Json::array();
  for (const auto& [id, logprob] : top) list.push_back(Json::array({id, logprob}));
  return list;
}

Json timings_json(const Timings& t) {
  return Json{{"queue_ms", t.queue_ms},        {"load_ms", t.load_ms},     {"prefill_ms", t.prefill_ms},
              {"ttft_ms", t.ttft_ms},          {"decode_ms", t.decode_ms}, {"prefill_tok_s", t.prefill_tok_s},
              {"decode_tok_s", t.decode_tok_s}, {"parked", t.parked}, {"guessed_tokens", t.guessed_tokens},
              {"accepted_tokens", t.accepted_tokens}};
}

std::string hex(uint64_t value) {
  std::array<char, 17> text{};
  std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(value));
  return text.data();
}

}  // namespace

const FieldTable<GenerateArgs>& generate_fields() {
  static const FieldTable<GenerateArgs> table = build_fields();
  return table;
}

Result<OverflowPolicy> overflow_policy(const std::string& name) {
  for (const auto policy : {OverflowPolicy::kError, OverflowPolicy::kTruncateOldest, OverflowPolicy::kSlidingWindow,
                            OverflowPolicy::kCompress})
    if (name == overflow_name(policy)) return policy;
  return refuse("overflow must be one of: error, truncate_oldest, sliding_window, compress");
}

const char* overflow_name(OverflowPolicy policy) noexcept {
  switch (policy) {
    case OverflowPolicy::kError:
      return "error";
    case OverflowPolicy::kTruncateOldest:
      return "truncate_oldest";
    case OverflowPolicy::kSlidingWindow:
      return "sliding_window";
    case OverflowPolicy::kCompress:
      return "compress";
  }
  return "error";
}

namespace {

/// The new messages of a session's turn; none: the last answer goes on.
Result<TurnRequest> to_turn(GenerateArgs& args) {
  if (args.raw || args.tokens || args.suffix)
    return refuse("raw, tokens and suffix do not go with session_id: a session keeps messages");
  TurnRequest turn;
  turn.session_id = *args.session_id;
  turn.expected_head = std::move(args.expected_head);
  turn.idempotency_key = args.idempotency_key.value_or("");
  if (args.prompt || args.messages) {
    turn.messages = std::move(KVASIR_TRY(to_prompt(args)).messages);
  } else if (args.system || args.any()) {
    return refuse("system, tools, enable_thinking and chat_template_kwargs go with prompt or messages");
  }
  return turn;
}

}  // namespace

Result<ToolRequest> to_request(GenerateArgs args) {
  ToolRequest out;
  out.stream = args.stream;
  out.overflow = args.overflow;
  const auto policy = KVASIR_TRY(overflow_policy(args.overflow.value_or("error")));
  Generate generate;
  if (args.session_id) {
    out.turn = KVASIR_TRY(to_turn(args));
  } else {
    if (args.expected_head || args.idempotency_key)
      return refuse("expected_head and idempotency_key go with session_id");
    if (policy == OverflowPolicy::kCompress)
      return refuse("overflow compress goes with session_id: what is compressed is a session");
    generate.prompt = KVASIR_TRY(to_prompt(args));
  }
  KVASIR_TRY(apply_template_args(args, generate.prompt));
  generate.sampling = {.temperature = args.temperature,
                       .top_p = args.top_p,
                       .min_p = args.min_p,
                       .repeat_penalty = args.repeat_penalty,
                       .frequency_penalty = args.frequency_penalty,
                       .presence_penalty = args.presence_penalty,
                       .top_k = args.top_k,
                       .seed = args.seed,
                       .logit_bias = std::move(args.logit_bias)};
  generate.max_tokens = args.max_tokens;
  generate.reasoning_budget = args.reasoning_budget;
  generate.max_time_ms = args.max_time_ms.value_or(0);
  generate.priority = priority_of(args.priority.value_or("normal"));
  generate.stop = std::move(args.stop);
  generate.overflow = policy;
  generate.logprobs = args.logprobs;
  generate.want_logprobs = args.logprobs > 0;
  generate.return_tokens = args.return_tokens;
  generate.ignore_eos = args.ignore_eos;
  generate.digest_logits = args.digest_logits;
  out.command = std::move(generate);
  return out;
}

Result<Generate> to_command(GenerateArgs args) {
  if (args.session_id) return refuse("session_id: this command keeps no session");
  auto request = KVASIR_TRY(to_request(std::move(args)));
  return std::get<Generate>(std::move(request.command));
}

const char* finish_reason_name(FinishReason reason) noexcept {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kTimeLimit:
      return "time_limit";
    case FinishReason::kContextFull:
      return "context_full";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kGrammar:
      return "grammar";
  }
  return "stop";
}

Json to_json(const GenerateResult& r) {
  Json out{{"text", r.text}, {"finish_reason", finish_reason_name(r.finish_reason)}};
  if (r.reasoning) out["reasoning"] = *r.reasoning;
  if (r.reasoning_cut) out["reasoning_cut"] = true;
  if (r.stop_sequence) out["stop_sequence"] = *r.stop_sequence;
  out["usage"] = Json{{"prompt_tokens", r.usage.prompt_tokens},
                      {"cached_tokens", r.usage.cached_tokens},
                      {"completion_tokens", r.usage.completion_tokens}};
  if (r.reasoning) out["usage"]["reasoning_tokens"] = r.usage.reasoning_tokens;
  out["timings"] = timings_json(r.timings);
  out["seed"] = r.seed;
  out["model"] = r.model;
  if (r.dropped_bytes > 0) out["dropped_bytes"] = r.dropped_bytes;
  if (r.truncated)
    out["truncated"] = Json{{"policy", overflow_name(r.truncated->policy)},
                            {"removed_tokens", r.truncated->removed_tokens},
                            {"removed_messages", r.truncated->removed_messages}};
  add_ignored(r.ignored, out);
  if (r.history_rewritten) out["history_rewritten"] = r.history_note;
  if (!r.tokens.empty()) out["tokens"] = r.tokens;
  if (!r.logprobs.empty()) {
    Json list = Json::array();
    for (const auto& entry : r.logprobs)
      list.push_back(
          Json{{"token", entry.token}, {"text", entry.text}, {"logprob", entry.logprob}, {"top", top_json(entry.top)}});
    out["logprobs"] = std::move(list);
  }
  if (!r.logit_digests.empty()) {
    // As text: they use all 64 bits, which JSON numbers of many clients do not carry.
    Json list = Json::array();
    for (const uint64_t digest : r.logit_digests) list.push_back(hex(digest));
    out["logit_digests"] = std::move(list);
  }
  bound_result(out, {"logit_digests", "logprobs", "tokens"}, kMaxResultBytes);
  return out;
}

Tool generate_text_tool() {
  Tool tool;
  tool.name = "generate_text";
  tool.title = "Generate text";
  tool.description =
      "Generate text with the language model that runs on this machine. Give prompt (one question) or messages (a "
      "conversation), or session_id to go on with a stored one. Returns the whole text, why it ended and what it cost; "
      "with a progress token the text also "
      "arrives as it is written.";
  tool.text_is_answer = true;
  tool.input_schema = generate_fields().schema();
  tool.output_schema = output_schema({
      {"text", "string", "The generated text"},
      {"finish_reason", "string", "stop, length, time_limit, context_full, cancelled or grammar"},
      {"usage", "object", "prompt_tokens, cached_tokens, completion_tokens; reasoning_tokens of these"},
      {"timings", "object", "Where the time went, in ms and tokens per second"},
      {"seed", "integer", "Gives the same answer again"},
      {"model", "string", "The model that answered"},
      {"reasoning", "string", "What the model thought before the answer", false},
      {"reasoning_cut", "boolean", "The thought was ended at reasoning_budget", false},
      {"stop_sequence", "string", "The stop text that ended it", false},
      {"tokens", "[integer]", "Token ids of the text", false},
      {"logprobs", "[object]", "Per token: token, text, logprob, top", false},
      {"dropped_bytes", "integer", "Prompt bytes that the model has no token for", false},
      {"truncated", "object", "What the overflow policy removed: policy, removed_tokens, removed_messages", false},
      {"ignored", "[string]", kIgnoredDescription, false},
      {"cut", "boolean", "Lists or text were cut to keep the result small", false},
      {"session_id", "string", "The session that was continued", false},
      {"head", "string", "Its last turn now, for expected_head", false},
      {"durable", "boolean", "Whether question and answer are on the disk", false},
      {"not_stored", "string", "Why the session is as it was", false},
      {"continued_tokens", "integer", "Of an interrupted answer that went on", false},
      {"dropped_tokens", "integer", "Of one that this replaced", false},
      {"replayed", "boolean", "The first answer to this idempotency_key, again", false},
      {"history_rewritten", "string", "Why the session's earlier tokens were made again", false},
  });
  tool.parse = [](const Json& params) -> Result<ToolRequest> {
    return to_request(KVASIR_TRY(generate_fields().parse(params)));
  };
  tool.result = [](const Event& event) -> Result<Json> {
    if (const auto* result = std::get_if<GenerateResult>(&event)) return to_json(*result);
    return Failure(Code::kInternal, "the engine answered generate_text with another event");
  };
  return tool;
}

}  // namespace kvasir::mcp
