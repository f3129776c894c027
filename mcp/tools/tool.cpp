#include "mcp/tools/tool.h"

#include "mcp/tools/compress_tool.h"
#include "mcp/tools/generation_tools.h"
#include "mcp/tools/model_tools.h"
#include "mcp/tools/session_tools.h"
#include "rpc/message.h"

namespace kvasir::mcp {
namespace {

Json type_of(std::string_view type) {
  if (type.starts_with('[')) return Json{{"type", "array"}, {"items", type_of(type.substr(1, type.size() - 2))}};
  return Json{{"type", std::string(type)}};
}

/// The longest beginning of `text` of at most `bytes` bytes that does not split a code point.
std::string cut_text(const std::string& text, size_t bytes) {
  if (text.size() <= bytes) return text;
  while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xC0U) == 0x80U) --bytes;
  return text.substr(0, bytes);
}

}  // namespace

Json output_schema(const std::vector<OutputField>& fields) {
  Json schema{{"type", "object"}, {"properties", Json::object()}};
  Json required = Json::array();
  for (const auto& field : fields) {
    Json property = type_of(field.type);
    property["description"] = field.description;
    schema["properties"][field.name] = std::move(property);
    if (field.required) required.push_back(field.name);
  }
  schema["required"] = std::move(required);
  return schema;
}

bool bound_result(Json& result, const std::vector<std::string>& droppable, size_t max_bytes) {
  size_t bytes = rpc::dump(result).size();
  if (bytes <= max_bytes) return false;
  result["cut"] = true;
  for (const auto& name : droppable) {
    if (!result.contains(name)) continue;
    result.erase(name);
    bytes = rpc::dump(result).size();
    if (bytes <= max_bytes) return true;
  }
  for (const char* name : {"reasoning", "text"}) {
    if (bytes <= max_bytes || !result.contains(name)) continue;
    // JSON escapes make a byte up to six, so halving is repeated until the escaped form fits.
    std::string text = result[name].get<std::string>();
    while (bytes > max_bytes && !text.empty()) {
      text = cut_text(text, text.size() / 2);
      result[name] = text;
      bytes = rpc::dump(result).size();
    }
  }
  return true;
}

ToolSet::ToolSet() {
  tools_.push_back(generate_text_tool());
  tools_.push_back(count_tokens_tool());
  tools_.push_back(score_text_tool());
  tools_.push_back(get_model_info_tool());
  for (auto& tool : session_tools()) tools_.push_back(std::move(tool));
  tools_.push_back(compress_session_tool());
  tools_.push_back(tokenize_tool());
  tools_.push_back(detokenize_tool());
}

const Tool* ToolSet::find(std::string_view name) const noexcept {
  for (const auto& tool : tools_)
    if (tool.name == name) return &tool;
  return nullptr;
}

}  // namespace kvasir::mcp
