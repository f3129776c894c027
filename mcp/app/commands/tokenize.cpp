// kvasir tokenize, kvasir detokenize: text to token ids and back; no weights are read.
#include "core/model/model.h"
#include "mcp/app/commands/commands.h"
#include "mcp/app/engine_options.h"
#include "mcp/app/input.h"
#include "mcp/app/model_choice.h"
#include "mcp/app/token_list.h"
#include "rpc/message.h"

namespace kvasir::app {
namespace {

const OptionSpec kSpecial{"special", OptionKind::kSwitch, "", "",
                          "control tokens in the text count as such (detokenize: are written)"};
const OptionSpec kAddBos{"add-bos", OptionKind::kSwitch, "", "", "add begin and end tokens as the model file says"};

Result<ModelText> model_text(const Context& context) {
  const std::string path = KVASIR_TRY(resolve_model(context.options.text("model"), context.paths.models_dir));
  return load_model_text(path);
}

Result<void> tokenize(Context& context) {
  const ModelText model = KVASIR_TRY(model_text(context));
  // All of stdin is one text, its last line end too: scripts compare ids.
  const std::string text = KVASIR_TRY(text_input(context));
  const Encoded encoded = KVASIR_TRY(model.tokenizer->encode(
      std::string_view(text),
      {.add_special = context.options.enabled("add-bos"), .parse_special = context.options.enabled("special")}));
  if (context.options.enabled("json")) {
    rpc::Json out = {{"tokens", encoded.ids}};
    if (encoded.dropped_bytes != 0) out["dropped_bytes"] = encoded.dropped_bytes;
    context.console->line(rpc::dump(out));
    return {};
  }
  std::string line;
  for (const TokenId id : encoded.ids) line += (line.empty() ? "" : " ") + std::to_string(id);
  context.console->line(line);
  return {};
}

Result<void> detokenize(Context& context) {
  const ModelText model = KVASIR_TRY(model_text(context));
  const std::string list = KVASIR_TRY(text_input(context));
  const auto ids = KVASIR_TRY(parse_token_list(list));
  const std::string text = KVASIR_TRY(model.tokenizer->decode(ids, context.options.enabled("special")));
  if (context.options.enabled("json")) {
    context.console->line(rpc::dump({{"text", text}}));
  } else {
    context.console->out(text);
  }
  return {};
}

}  // namespace

Command tokenize_command() {
  return {{"tokenize",
           "token ids of a text",
           {&kModel, &kSpecial, &kAddBos, &kJson},
           "TEXT",
           false,
           true,
           "  kvasir tokenize \"Hello world\"\n  kvasir tokenize --json < file.txt"},
          tokenize};
}

Command detokenize_command() {
  return {{"detokenize",
           "the text of token ids",
           {&kModel, &kSpecial, &kJson},
           "IDS",
           false,
           true,
           "  kvasir detokenize 19556 905"},
          detokenize};
}

}  // namespace kvasir::app
