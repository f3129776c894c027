#include "mcp/tools/model_tools.h"

#include <cmath>
#include <optional>
#include <utility>

#include "mcp/tools/template_fields.h"
#include "sessions/turn_builder.h"

namespace kvasir::mcp {
namespace {

struct CountArgs : TemplateArgs {
  std::optional<std::string> text;
  std::optional<std::vector<ChatMessage>> messages;
  std::optional<std::string> session_id;
};
struct ScoreArgs {
  std::string prompt;
  std::optional<std::string> text;
  std::optional<std::vector<TokenId>> tokens;
  uint32_t top = 0;
};
struct TokenizeArgs {
  std::string text;
  bool add_special = false, parse_special = false, pieces = false;
};
struct DetokenizeArgs {
  std::vector<TokenId> tokens;
};
struct NoArgs {};

Failure refuse(std::string message) {
  return {Code::kInvalidArgument, std::move(message)};
}

/// What is stored is what counts: the session's own token ids.
Result<ToolRequest> count_session(const CountArgs& args) {
  if (args.text || args.messages || args.any()) return refuse("give only one of text, messages and session_id");
  ToolRequest request;
  request.session = [id = *args.session_id](SessionService& sessions, const std::string& principal,
                                            Then<SessionStep> then) {
    sessions.get(principal, id, [then = std::move(then)](Result<SessionDetails> got) mutable {
      if (!got) return then(Failure(std::move(got).error()));
      SessionStep step;
      step.result = Json{{"tokens", context_tokens(got->turns).size()}, {"per_message", Json::array()}};
      for (const auto& turn : got->turns) step.result["per_message"].push_back(turn.tokens.size());
      then(std::move(step));
    });
  };
  return request;
}

Result<ToolRequest> count_command(CountArgs args) {
  if (args.session_id) return count_session(args);
  if (args.text.has_value() == args.messages.has_value())
    return refuse(args.text ? "give only one of text and messages"
                            : "nothing to count: give text, messages or session_id");
  CountTokens out;
  if (args.text) {
    out.prompt.kind = Prompt::Kind::kText;
    out.prompt.text = std::move(*args.text);
  } else {
    out.prompt.kind = Prompt::Kind::kMessages;
    out.prompt.messages = std::move(*args.messages);
  }
  KVASIR_TRY(apply_template_args(args, out.prompt));
  ToolRequest request;
  request.command = std::move(out);
  return request;
}

Result<ToolRequest> score_command(ScoreArgs args) {
  if (args.text.has_value() == args.tokens.has_value())
    return refuse(args.text ? "give only one of text and tokens" : "nothing to score: give text or tokens");
  if (args.tokens && !args.prompt.empty())
    return refuse("prompt goes with text; with tokens, put all of them into tokens");
  ScoreText out;
  out.prompt = std::move(args.prompt);
  out.has_tokens = args.tokens.has_value();
  if (args.tokens) out.tokens = std::move(*args.tokens);
  if (args.text) out.text = std::move(*args.text);
  if (out.has_tokens && out.tokens.size() < 2)
    return refuse("tokens needs at least 2 ids: the first one is not scored");
  out.top = args.top;
  ToolRequest request;
  request.command = std::move(out);
  return request;
}

/// A tool whose result struct has a to_json().
template <class R>
std::function<Result<Json>(const Event&)> answered_by() {
  return [](const Event& event) -> Result<Json> {
    if (const auto* result = std::get_if<R>(&event)) return to_json(*result);
    return Failure(Code::kInternal, "the engine answered with another event than this tool's");
  };
}

Json pairs_json(const std::vector<std::pair<TokenId, float>>& pairs) {
  Json list = Json::array();
  for (const auto& [id, logprob] : pairs) list.push_back(Json::array({id, logprob}));
  return list;
}

Json backend_json(const BackendInfo& backend) {
  Json out{{"name", backend.name}};
  out[backend.name.starts_with("cuda") ? "device" : "isa"] = backend.isa_or_device;
  out["reason"] = backend.reason;
  out["threads"] = backend.threads;
  out["numerics_version"] = backend.numerics_version;
  return out;
}

Json sampling_json(const SamplingParams& s) {
  return Json{{"temperature", s.temperature},
              {"top_k", s.top_k},
              {"top_p", s.top_p},
              {"min_p", s.min_p},
              {"repeat_penalty", s.repeat_penalty},
              {"frequency_penalty", s.frequency_penalty},
              {"presence_penalty", s.presence_penalty}};
}

constexpr ToolHints kLooksOnly{.read_only = true, .destructive = false, .idempotent = true};

}  // namespace

Json to_json(const CountResult& r) {
  Json out{{"tokens", r.tokens}};
  if (!r.per_message.empty()) out["per_message"] = r.per_message;
  if (r.template_overhead) out["template_overhead"] = *r.template_overhead;
  if (r.dropped_bytes > 0) out["dropped_bytes"] = r.dropped_bytes;
  add_ignored(r.ignored, out);
  return out;
}

Json to_json(const ScoreResult& r) {
  Json out{{"tokens", r.tokens}, {"logprobs", r.logprobs}, {"nll", r.nll}};
  const auto scored = static_cast<double>(r.logprobs.size());
  out["perplexity"] = scored > 0 ? std::exp(r.nll / scored) : 1.0;
  if (!r.top.empty()) {
    Json list = Json::array();
    for (const auto& position : r.top) list.push_back(pairs_json(position));
    out["top"] = std::move(list);
  }
  if (!r.top_last.empty()) {
    Json ids = Json::array(), logprobs = Json::array();
    for (const auto& [id, logprob] : r.top_last) ids.push_back(id), logprobs.push_back(logprob);
    out["top_last"] = Json{{"ids", std::move(ids)}, {"logprobs", std::move(logprobs)}};
  }
  bound_result(out, {"top", "logprobs", "tokens"}, kMaxResultBytes);
  return out;
}

Json to_json(const ModelInfoResult& r) {
  const ModelDescription& m = r.model;
  Json out{{"name", m.name},
           {"loaded", r.loaded},
           {"architecture", m.architecture},
           {"parameters", m.parameters},
           {"quantization", m.quantization},
           {"format", m.format},
           {"max_context", m.max_context},
           {"context", r.context}};
  if (!m.quantized_on_load.empty()) out["quantized_on_load"] = m.quantized_on_load;
  if (!r.context_reason.empty()) out["context_reason"] = r.context_reason;
  out["vocab_size"] = m.vocab_size;
  out["chat_template"] = m.has_chat_template;
  out["backend"] = backend_json(r.backend);
  if (r.loaded) out["gpu_layers"] = r.gpu_layers;
  Json backends = Json::array();
  for (const auto& probe : r.probes)
    backends.push_back(Json{{"name", probe.name}, {"usable", probe.usable}, {"reason", probe.reason}});
  out["backends"] = std::move(backends);
  out["file"] = m.path;
  out["file_bytes"] = m.file_bytes;
  out["fingerprint"] = m.fingerprint;
  out["default_sampling"] = sampling_json(r.default_sampling);
  out["memory"] = Json{{"weights_bytes", r.memory.weights_bytes},
                       {"kv_bytes", r.memory.kv_bytes},
                       {"kv_free_pages", r.memory.kv_free_pages},
                       {"kv_total_pages", r.memory.kv_total_pages},
                       {"rss_bytes", r.memory.rss_bytes}};
  return out;
}

Json to_json(const TokenizeResult& r) {
  Json out{{"tokens", r.tokens}};
  if (!r.pieces.empty()) out["pieces"] = r.pieces;
  if (r.dropped_bytes > 0) out["dropped_bytes"] = r.dropped_bytes;
  return out;
}

Tool count_tokens_tool() {
  static const auto fields = [] {
    FieldTable<CountArgs> table;
    table.add("text", &CountArgs::text, "Text to count, without a beginning-of-text token.", {.positional = true})
        .add("messages", &CountArgs::messages, "A conversation, counted with the model's chat template.",
             {.max_items = 10'000})
        .add("session_id", &CountArgs::session_id, "A stored conversation, instead.", {.max_bytes = 128});
    add_template_fields(table, false);
    return table;
  }();
  Tool tool;
  tool.name = "count_tokens";
  tool.title = "Count tokens";
  tool.description = "Count the tokens of a text, or of a conversation as the local model would see it.";
  tool.hints = kLooksOnly;
  tool.input_schema = fields.schema();
  tool.output_schema = output_schema({
      {"tokens", "integer", "All of it"},
      {"per_message", "[integer]", "Tokens of each message", false},
      {"template_overhead", "integer", "Tokens that the chat template adds", false},
      {"dropped_bytes", "integer", "Bytes that the model has no token for", false},
      {"ignored", "[string]", kIgnoredDescription, false},
  });
  tool.parse = [](const Json& params) -> Result<ToolRequest> {
    return count_command(KVASIR_TRY(fields.parse(params)));
  };
  tool.result = answered_by<CountResult>();
  return tool;
}

Tool score_text_tool() {
  static const auto fields =
      FieldTable<ScoreArgs>()
          .add("prompt", &ScoreArgs::prompt, "What stands before text; not scored.", {.positional = true})
          .add("text", &ScoreArgs::text, "Text to score.", {.positional = true})
          .add("top", &ScoreArgs::top, "Also return this many likeliest tokens per position.",
               {.minimum = 0, .maximum = 64, .positional = true})
          .add("tokens", &ScoreArgs::tokens, "Token ids to score instead of text; all but the first.");
  Tool tool;
  tool.name = "score_text";
  tool.title = "Score text";
  tool.description = "Log-probabilities that the local model gives to each token of a text, and its perplexity.";
  tool.hints = kLooksOnly;
  tool.input_schema = fields.schema();
  tool.output_schema = output_schema({
      {"tokens", "[integer]", "The scored tokens", false},
      {"logprobs", "[number]", "Natural logarithm, one per scored token", false},
      {"nll", "number", "Negated sum of logprobs"},
      {"perplexity", "number", "exp(nll / number of scored tokens)"},
      {"top", "[array]", "Per scored token the pairs [id, logprob] that were likeliest", false},
      {"top_last", "object", "ids and logprobs for the position after the last token", false},
      {"cut", "boolean", "Lists were left out to keep the result small", false},
  });
  tool.output_schema["properties"]["top"]["items"]["items"] = Json{{"type", "array"}, {"items", {{"type", "number"}}}};
  tool.parse = [](const Json& params) -> Result<ToolRequest> {
    return score_command(KVASIR_TRY(fields.parse(params)));
  };
  tool.result = answered_by<ScoreResult>();
  return tool;
}

Tool get_model_info_tool() {
  static const FieldTable<NoArgs> fields;
  Tool tool;
  tool.name = "get_model_info";
  tool.title = "Model information";
  tool.description = "Which model runs here, its context size, the hardware it uses and why, and its default sampling.";
  tool.hints = kLooksOnly;
  tool.input_schema = fields.schema();
  tool.output_schema = output_schema({
      {"name", "string", "The model's name"},
      {"loaded", "boolean", "false: only the file's header was read so far"},
      {"architecture", "string", "Model family"},
      {"parameters", "integer", "Number of weights"},
      {"quantization", "string", "Type of most weights"},
      {"quantized_on_load", "string", "What --quantize changed while loading", false},
      {"format", "string", "File format"},
      {"max_context", "integer", "Tokens that the model was made for"},
      {"context", "integer", "Tokens that fit here"},
      {"context_reason", "string", "Why that is less", false},
      {"vocab_size", "integer", "Number of tokens"},
      {"chat_template", "boolean", "Whether the file has one"},
      {"backend", "object", "name, isa or device, reason"},
      {"gpu_layers", "integer", "Layers that lie in memory of a GPU, once loaded", false},
      {"backends", "[object]", "Every backend with the reason why it can run or not"},
      {"file", "string", "Path"},
      {"file_bytes", "integer", "Size of the file"},
      {"fingerprint", "string", "Identity of the model"},
      {"default_sampling", "object", "What is used when nothing is asked"},
      {"memory", "object", "Bytes and pages in use"},
  });
  tool.parse = [](const Json& params) -> Result<ToolRequest> {
    KVASIR_TRY(fields.parse(params));
    ToolRequest request;
    request.command = ModelInfo{};
    return request;
  };
  tool.result = answered_by<ModelInfoResult>();
  return tool;
}

Tool tokenize_tool() {
  static const auto fields =
      FieldTable<TokenizeArgs>()
          .add("text", &TokenizeArgs::text, "Text to split.", {.required = true, .positional = true})
          .add("add_special", &TokenizeArgs::add_special, "Add beginning and end tokens as the model wants.",
               {.positional = true})
          .add("parse_special", &TokenizeArgs::parse_special, "Recognise control tokens written in the text.",
               {.positional = true})
          .add("pieces", &TokenizeArgs::pieces, "Also return the text of each token.", {.positional = true});
  Tool tool;
  tool.name = "tokenize";
  tool.over_mcp = false;
  tool.input_schema = fields.schema();
  tool.parse = [](const Json& params) -> Result<ToolRequest> {
    auto args = KVASIR_TRY(fields.parse(params));
    ToolRequest request;
    request.command = Tokenize{0, std::move(args.text), args.add_special, args.parse_special, args.pieces};
    return request;
  };
  tool.result = answered_by<TokenizeResult>();
  return tool;
}

Tool detokenize_tool() {
  static const auto fields = FieldTable<DetokenizeArgs>().add("tokens", &DetokenizeArgs::tokens, "Token ids.",
                                                              {.required = true, .positional = true});
  Tool tool;
  tool.name = "detokenize";
  tool.over_mcp = false;
  tool.input_schema = fields.schema();
  tool.parse = [](const Json& params) -> Result<ToolRequest> {
    ToolRequest request;
    request.command = Detokenize{0, std::move(KVASIR_TRY(fields.parse(params)).tokens)};
    return request;
  };
  tool.result = [](const Event& event) -> Result<Json> {
    if (const auto* result = std::get_if<DetokenizeResult>(&event)) return Json{{"text", result->text}};
    return Failure(Code::kInternal, "the engine answered detokenize with another event");
  };
  return tool;
}

}  // namespace kvasir::mcp
