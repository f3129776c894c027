#include "mcp/tools/template_fields.h"

namespace kvasir::mcp {

Result<void> apply_template_args(TemplateArgs& args, Prompt& prompt) {
  if (prompt.kind != Prompt::Kind::kMessages && args.any()) {
    return Failure(
        Code::kInvalidArgument,
        "tools, enable_thinking and chat_template_kwargs are for the chat template: they go with messages or "
        "a prompt without raw and suffix");
  }
  if (args.tools) prompt.tools_json = std::move(args.tools->text);
  if (args.chat_template_kwargs) prompt.template_extra_json = std::move(args.chat_template_kwargs->text);
  prompt.enable_thinking = args.enable_thinking;
  return {};
}

void add_ignored(const std::vector<std::string>& ignored, Json& result) {
  if (!ignored.empty()) result["ignored"] = ignored;
}

}  // namespace kvasir::mcp
