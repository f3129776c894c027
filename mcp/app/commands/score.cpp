// kvasir score: how likely the model finds a text.
#include <cstdio>

#include "mcp/app/commands/commands.h"
#include "mcp/app/engine_client.h"
#include "mcp/app/engine_options.h"
#include "mcp/app/input.h"
#include "mcp/app/token_list.h"
#include "rpc/message.h"

namespace kvasir::app {
namespace {

const OptionSpec kPrompt{"prompt", OptionKind::kText, "TEXT", "", "what comes before the scored text"};
const OptionSpec kTop{"top", OptionKind::kWhole, "N", "", "with --json: the N likeliest tokens at each place"};
const OptionSpec kTokens{"tokens", OptionKind::kSwitch, "", "", "the input is token ids, not text"};

Result<void> run(Context& context) {
  const EngineKey key = KVASIR_TRY(resolved_engine_key(context));
  const std::string text = KVASIR_TRY(text_input(context));
  rpc::Json arguments = rpc::Json::object();
  if (context.options.enabled("tokens")) {
    arguments["tokens"] = KVASIR_TRY(parse_token_list(text));
  } else {
    arguments["text"] = text;
  }
  if (context.options.has("prompt")) arguments["prompt"] = context.options.text("prompt");
  if (context.options.has("top")) arguments["top"] = context.options.whole("top");
  Console& console = *context.console;
  EngineClient engine(*context.interrupt);
  const auto result =
      KVASIR_TRY(engine.call_tool(key, "score_text", arguments, [&](const Event& e) { show_loading(console, e); }));
  console.end_progress();
  if (context.options.enabled("json")) {
    console.line(rpc::dump(result));
    return {};
  }
  char line[160];
  std::snprintf(line, sizeof line, "tokens      %zu\nnll         %.4f\nperplexity  %.4f", result.at("tokens").size(),
                result.at("nll").get<double>(),
                result.at("perplexity").is_number() ? result.at("perplexity").get<double>() : 0.0);
  console.line(line);
  return {};
}

}  // namespace

Command score_command() {
  return {
      {"score", "log-probabilities of a text", engine_options({&kPrompt, &kTop, &kTokens, &kJson}), "TEXT", false, true,
       "  kvasir score \"The capital of France is Paris.\"\n  kvasir score --prompt \"2 + 2 =\" \" 4\" --json"},
      run};
}

}  // namespace kvasir::app
