// What a caller may hand to the model's chat template beside the messages: the same three arguments wherever messages
// are rendered. Names as Hugging Face, vLLM and llama-server have them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "mcp/tools/schema.h"

namespace kvasir::mcp {

struct TemplateArgs {
  std::optional<JsonArrayText> tools;
  std::optional<bool> enable_thinking;
  std::optional<JsonObjectText> chat_template_kwargs;

  bool any() const noexcept { return tools || enable_thinking || chat_template_kwargs; }
};

/// `Args` derives from TemplateArgs. Not `listed`: accepted as well, but only `tools` stands in the schema.
template <class Args>
void add_template_fields(FieldTable<Args>& table, bool listed) {
  table
      .template add<std::optional<JsonArrayText>>(
          "tools", &Args::tools,
          listed ? "Functions the model may call, as {type: function, function: {name, description, parameters}}. A "
                   "call comes back in the text, in the model's own format."
                 : "As in generate_text.",
          {.max_items = 1024})
      .template add<std::optional<bool>>("enable_thinking", &Args::enable_thinking,
                                         "Whether a thinking model thinks first. Default: as its chat template has it.",
                                         {.hidden = !listed})
      .template add<std::optional<JsonObjectText>>("chat_template_kwargs", &Args::chat_template_kwargs,
                                                   "Further variables of the chat template, such as reasoning_effort.",
                                                   {.hidden = !listed});
}

/// Into a prompt of messages. Errors: kInvalidArgument.
Result<void> apply_template_args(TemplateArgs& args, Prompt& prompt);

/// Names what the template has no use for; nothing if it used all.
void add_ignored(const std::vector<std::string>& ignored, Json& result);
inline constexpr const char* kIgnoredDescription = "Arguments that the chat template has no use for";

}  // namespace kvasir::mcp
