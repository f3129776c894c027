// kvasir run: answers one prompt and ends.
#include <cstdio>

#include "mcp/app/commands/commands.h"
#include "mcp/app/engine_client.h"
#include "mcp/app/engine_options.h"
#include "mcp/app/input.h"
#include "rpc/message.h"

namespace kvasir::app {
namespace {

using rpc::Json;

const OptionSpec kSystem{"system", OptionKind::kText, "TEXT", "", "system message"};
const OptionSpec kMaxTokens{"max-tokens", OptionKind::kWhole, "N", "512", "longest answer"};
const OptionSpec kTemperature{"temperature", OptionKind::kDecimal, "T", "",
                              "0: always the likeliest token (default: the model's, else 0.7)"};
const OptionSpec kTopK{"top-k", OptionKind::kWhole, "N", "", "only the N likeliest tokens; 0: off"};
const OptionSpec kTopP{"top-p", OptionKind::kDecimal, "P", "", "only the likeliest tokens that add up to P; 1: off"};
const OptionSpec kMinP{"min-p", OptionKind::kDecimal, "P", "",
                       "only tokens at least P times as likely as the best; 0: off"};
const OptionSpec kRepeat{"repeat-penalty", OptionKind::kDecimal, "X", "", "over the last 64 tokens; 1: off"};
const OptionSpec kFrequency{"frequency-penalty", OptionKind::kDecimal, "X", "", "per occurrence in the answer; 0: off"};
const OptionSpec kPresence{"presence-penalty", OptionKind::kDecimal, "X", "", "once per token in the answer; 0: off"};
const OptionSpec kSeed{"seed", OptionKind::kWhole, "N", "", "repeats an answer (default: drawn)"};
const OptionSpec kStop{"stop", OptionKind::kList, "TEXT", "", "end before this text; repeatable"};
const OptionSpec kMaxTime{"max-time-ms", OptionKind::kWhole, "MS", "", "answer with what is there after this long"};
const OptionSpec kLogprobs{"logprobs", OptionKind::kWhole, "N", "",
                           "with --json: the N likeliest tokens at each place"};
const OptionSpec kReturnTokens{"return-tokens", OptionKind::kSwitch, "", "", "with --json: the token ids"};
const OptionSpec kIgnoreEos{"ignore-eos", OptionKind::kSwitch, "", "", "go on after the model's end token"};
const OptionSpec kRaw{"raw", OptionKind::kSwitch, "", "", "continue the text as it is, without the chat template"};

constexpr const OptionSpec* kWholes[] = {&kMaxTokens, &kTopK, &kSeed, &kMaxTime, &kLogprobs};
constexpr const OptionSpec* kDecimals[] = {&kTemperature, &kTopP, &kMinP, &kRepeat, &kFrequency, &kPresence};
constexpr const OptionSpec* kSwitches[] = {&kReturnTokens, &kIgnoreEos, &kRaw};

/// The arguments of the tool generate_text: it checks them as it would over the wire.
Json tool_arguments(const Options& options, const std::string& prompt) {
  Json out = {{"prompt", prompt}};
  if (options.has(kSystem.name)) out["system"] = options.text(kSystem.name);
  for (const auto* spec : kWholes) {
    if (options.has(spec->name)) out[key_name(spec->name)] = options.whole(spec->name);
  }
  for (const auto* spec : kDecimals) {
    if (options.has(spec->name)) out[key_name(spec->name)] = options.decimal(spec->name);
  }
  for (const auto* spec : kSwitches) {
    if (options.enabled(spec->name)) out[key_name(spec->name)] = true;
  }
  if (options.has(kStop.name)) out["stop"] = options.list(kStop.name);
  return out;
}

void say_timings(Console& console, const Json& result) {
  const Json& usage = result.at("usage");
  const Json& timings = result.at("timings");
  char text[256];
  std::snprintf(text, sizeof text, "[%llu prompt + %llu new tokens; first token %.0f ms; %.1f tok/s; %s]",
                static_cast<unsigned long long>(usage.at("prompt_tokens").get<uint64_t>()),
                static_cast<unsigned long long>(usage.at("completion_tokens").get<uint64_t>()),
                timings.at("ttft_ms").get<double>(), timings.at("decode_tok_s").get<double>(),
                result.at("finish_reason").get<std::string>().c_str());
  console.note(text);
}

Result<void> run(Context& context) {
  const EngineKey key = KVASIR_TRY(resolved_engine_key(context));
  const std::string prompt = KVASIR_TRY(text_input(context));
  const bool json = context.options.enabled("json");
  Console& console = *context.console;
  EngineClient engine(*context.interrupt, KVASIR_TRY(packed_weights_folder(context)));
  bool ends_line = true;
  const Json result = KVASIR_TRY(
      engine.call_tool(key, "generate_text", tool_arguments(context.options, prompt), [&](const Event& event) {
        show_loading(console, event);
        const auto* delta = std::get_if<TextDelta>(&event);
        if (delta == nullptr || delta->text.empty() || json) return;
        console.out(delta->text);
        ends_line = delta->text.ends_with('\n');
      }));
  if (json) {
    console.line(rpc::dump(result));
  } else {
    if (!ends_line) console.out("\n");
    if (console.err_is_terminal()) say_timings(console, result);
  }
  if (context.interrupt->signal() != 0) return Failure{Code::kCancelled, "interrupted"};
  return {};
}

}  // namespace

Command run_command() {
  return {
      {"run", "answer one prompt",
       serving_options({&kSystem, &kMaxTokens, &kTemperature, &kTopK, &kTopP, &kMinP, &kRepeat, &kFrequency, &kPresence,
                       &kSeed, &kStop, &kMaxTime, &kRaw, &kIgnoreEos, &kLogprobs, &kReturnTokens, &kJson}),
       "PROMPT", false, true,
       "  kvasir run \"Name three primary colours.\"\n  git diff | kvasir run \"Summarise this change:\"\n"
       "  kvasir run --raw --temperature 0 --max-tokens 20 \"Once upon a time\""},
      run};
}

}  // namespace kvasir::app
