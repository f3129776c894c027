#include "mcp/tools/schema.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "rpc/message.h"
#include "rpc/parse.h"

namespace kvasir::mcp {
namespace {

constexpr double kLargestExactInteger = 9007199254740992.0;  // 2^53: what a JSON number in a script surely carries
constexpr size_t kShownBytes = 40;

/// A short rendering of what came, for messages.
std::string shown(const Json& value) {
  std::string text = rpc::dump(value);
  if (text.size() <= kShownBytes) return text;
  size_t cut = kShownBytes;
  while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xC0U) == 0x80U) --cut;
  return text.substr(0, cut) + "...";
}

std::string number_text(double value) {
  if (value == std::floor(value) && std::abs(value) < kLargestExactInteger)
    return std::to_string(static_cast<int64_t>(value));
  return rpc::dump(Json(value));
}

/// ` from 0 to 2`, ` of at least 1`, or nothing.
std::string range_text(const FieldRules& rules) {
  if (rules.minimum && rules.maximum)
    return " from " + number_text(*rules.minimum) + " to " + number_text(*rules.maximum);
  if (rules.minimum) return " of at least " + number_text(*rules.minimum);
  if (rules.maximum) return " of at most " + number_text(*rules.maximum);
  return "";
}

Failure wrong(const std::string& path, const std::string& wanted, const Json& got) {
  return {Code::kInvalidArgument, path + " must be " + wanted + ", got " + shown(got)};
}

bool within(double value, const FieldRules& rules) {
  return !(rules.minimum && value < *rules.minimum) && !(rules.maximum && value > *rules.maximum);
}

/// A whole number of 0 ... `limit`; 5.0 counts as 5, as JSON Schema says.
template <class T>
Result<void> read_integer(const Json& value, const std::string& path, const FieldRules& rules, uint64_t limit, T& out) {
  const std::string wanted = "an integer" + range_text(rules);
  uint64_t whole = 0;
  if (value.is_number_unsigned()) {
    whole = value.get<uint64_t>();
  } else if (value.is_number_float()) {
    const double real = value.get<double>();
    if (!(real >= 0.0) || real > kLargestExactInteger || real != std::floor(real)) return wrong(path, wanted, value);
    whole = static_cast<uint64_t>(real);
  } else if (value.is_number_integer() && value.get<int64_t>() >= 0) {
    whole = static_cast<uint64_t>(value.get<int64_t>());
  } else {
    return wrong(path, wanted, value);
  }
  if (whole > limit || !within(static_cast<double>(whole), rules)) return wrong(path, wanted, value);
  out = static_cast<T>(whole);
  return {};
}

Result<void> check_array(const Json& value, const std::string& path, const FieldRules& rules, const char* of) {
  if (!value.is_array()) return wrong(path, std::string("an array of ") + of, value);
  if (value.size() > rules.max_items)
    return Failure(Code::kInvalidArgument, path + " has " + std::to_string(value.size()) + " items, at most " +
                                               std::to_string(rules.max_items) + " are allowed");
  return {};
}

std::string item_path(const std::string& path, size_t index) {
  return path + "[" + std::to_string(index) + "]";
}

/// Edits (insert, delete, replace) from one name to another; names are short, longer ones are cut.
size_t edit_distance(std::string_view a, std::string_view b) {
  a = a.substr(0, 64);
  b = b.substr(0, 64);
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

void add_bounds(Json& schema, const FieldRules& rules, bool integer) {
  const auto number = [&](double value) { return integer ? Json(static_cast<int64_t>(value)) : Json(value); };
  if (rules.minimum) schema["minimum"] = number(*rules.minimum);
  if (rules.maximum) schema["maximum"] = number(*rules.maximum);
}

Json integer_schema(const FieldRules& rules) {
  Json schema{{"type", "integer"}};
  add_bounds(schema, rules, true);
  return schema;
}

}  // namespace

Result<void> read_value(const Json& value, const std::string& path, const FieldRules& rules, std::string& out) {
  if (!value.is_string()) return wrong(path, "a string", value);
  const auto& text = value.get_ref<const std::string&>();
  if (text.size() > rules.max_bytes)
    return Failure(Code::kInvalidArgument, path + " has " + std::to_string(text.size()) + " bytes, at most " +
                                               std::to_string(rules.max_bytes) + " are allowed");
  if (text.size() < rules.min_bytes) return Failure(Code::kInvalidArgument, path + " must not be empty");
  if (!rules.one_of.empty() && std::find(rules.one_of.begin(), rules.one_of.end(), text) == rules.one_of.end()) {
    std::string known;
    for (const auto& name : rules.one_of) known += (known.empty() ? "" : ", ") + name;
    return wrong(path, "one of: " + known, value);
  }
  out = text;
  return {};
}

Result<void> read_value(const Json& value, const std::string& path, const FieldRules&, bool& out) {
  if (!value.is_boolean()) return wrong(path, "true or false", value);
  out = value.get<bool>();
  return {};
}

Result<void> read_value(const Json& value, const std::string& path, const FieldRules& rules, uint32_t& out) {
  return read_integer(value, path, rules, std::numeric_limits<uint32_t>::max(), out);
}

Result<void> read_value(const Json& value, const std::string& path, const FieldRules& rules, uint64_t& out) {
  return read_integer(value, path, rules, std::numeric_limits<uint64_t>::max(), out);
}

Result<void> read_value(const Json& value, const std::string& path, const FieldRules& rules, float& out) {
  const std::string wanted = "a number" + range_text(rules);
  if (!value.is_number()) return wrong(path, wanted, value);
  const double real = value.get<double>();
  if (!std::isfinite(real) || std::abs(real) > static_cast<double>(std::numeric_limits<float>::max()) ||
      !within(real, rules))
    return wrong(path, wanted, value);
  out = static_cast<float>(real);
  return {};
}

Result<void> read_value(const Json& value, const std::string& path, const FieldRules& rules,
                        std::vector<std::string>& out) {
  KVASIR_TRY(check_array(value, path, rules, "strings"));
  out.reserve(value.size());
  for (size_t i = 0; i < value.size(); ++i)
    KVASIR_TRY(read_value(value[i], item_path(path, i), rules, out.emplace_back()));
  return {};
}

Result<void> read_value(const Json& value, const std::string& path, const FieldRules& rules,
                        std::vector<TokenId>& out) {
  KVASIR_TRY(check_array(value, path, rules, "token ids"));
  constexpr uint64_t kLargest = std::numeric_limits<TokenId>::max();
  out.reserve(value.size());
  for (size_t i = 0; i < value.size(); ++i)
    KVASIR_TRY(read_integer(value[i], item_path(path, i), {.minimum = 0}, kLargest, out.emplace_back()));
  return {};
}

namespace {

/// The calls of an assistant's message. Templates want the arguments as an object; OpenAI's clients send them as text.
Result<Json> read_tool_calls(const Json& value, const std::string& path) {
  KVASIR_TRY(check_array(value, path, {.max_items = 1024}, "calls"));
  Json out = value;
  for (size_t i = 0; i < out.size(); ++i) {
    if (!out[i].is_object()) return wrong(item_path(path, i), "an object {function: {name, arguments}}", out[i]);
    Json& call = out[i].contains("function") && out[i]["function"].is_object() ? out[i]["function"] : out[i];
    if (!call.contains("arguments") || !call["arguments"].is_string()) continue;
    const auto parsed = rpc::parse_json(call["arguments"].get_ref<const std::string&>(), {});
    if (parsed && parsed->is_object()) call["arguments"] = *parsed;
  }
  return out;
}

/// Role and content, and what a conversation with calls to tools has besides.
Result<void> read_message(const Json& item, const std::string& at, const FieldRules& rules, ChatMessage& out) {
  static const FieldRules kRole{.one_of = {"system", "user", "assistant", "tool"}};
  if (!item.is_object()) return wrong(at, "an object {role, content}", item);
  Json whole = item;
  for (const auto& [key, value] : item.items()) {
    if (key == "role" || key == "content") continue;
    if (key == "tool_calls") {
      whole[key] = KVASIR_TRY(read_tool_calls(value, at + ".tool_calls"));
    } else if (key == "tool_call_id" || key == "name" || key == "reasoning_content") {
      std::string text;
      KVASIR_TRY(read_value(value, at + "." + key, rules, text));
    } else {
      return Failure(Code::kInvalidArgument, at + ": unknown key " + shown(Json(key)) +
                                                 "; a message has role and content, and may have tool_calls, "
                                                 "tool_call_id, name and reasoning_content");
    }
  }
  const bool calls = item.contains("tool_calls");
  for (const char* key : {"role", "content"}) {
    if (!item.contains(key) && !(calls && std::string_view(key) == "content"))
      return Failure(Code::kInvalidArgument, at + "." + key + " is missing");
  }
  KVASIR_TRY(read_value(item["role"], at + ".role", kRole, out.role));
  const bool empty = calls && (!item.contains("content") || item["content"].is_null());
  if (!empty) KVASIR_TRY(read_value(item["content"], at + ".content", rules, out.content));
  if (item.size() > 2 || empty) out.json = rpc::dump(whole);
  return {};
}

}  // namespace

Result<void> read_value(const Json& value, const std::string& path, const FieldRules& rules,
                        std::vector<ChatMessage>& out) {
  KVASIR_TRY(check_array(value, path, rules, "messages {role, content}"));
  out.reserve(value.size());
  for (size_t i = 0; i < value.size(); ++i)
    KVASIR_TRY(read_message(value[i], item_path(path, i), rules, out.emplace_back()));
  return {};
}

Result<void> read_value(const Json& value, const std::string& path, const FieldRules& rules,
                        std::vector<std::pair<TokenId, float>>& out) {
  constexpr uint64_t kLargest = std::numeric_limits<TokenId>::max();
  KVASIR_TRY(check_array(value, path, rules, "[token id, bias] pairs"));
  out.reserve(value.size());
  for (size_t i = 0; i < value.size(); ++i) {
    const std::string at = item_path(path, i);
    if (!value[i].is_array() || value[i].size() != 2) return wrong(at, "a pair [token id, bias]", value[i]);
    auto& pair = out.emplace_back();
    KVASIR_TRY(read_integer(value[i][0], at + "[0]", {.minimum = 0}, kLargest, pair.first));
    KVASIR_TRY(read_value(value[i][1], at + "[1]", rules, pair.second));
  }
  return {};
}

Result<void> read_value(const Json& value, const std::string& path, const FieldRules& rules, JsonArrayText& out) {
  KVASIR_TRY(check_array(value, path, rules, "objects"));
  for (size_t i = 0; i < value.size(); ++i)
    if (!value[i].is_object()) return wrong(item_path(path, i), "an object", value[i]);
  out.text = rpc::dump(value);
  return {};
}

Result<void> read_value(const Json& value, const std::string& path, const FieldRules&, JsonObjectText& out) {
  if (!value.is_object()) return wrong(path, "an object", value);
  out.text = rpc::dump(value);
  return {};
}

Json type_schema(const std::string*, const FieldRules& rules) {
  Json schema{{"type", "string"}};
  if (!rules.one_of.empty()) schema["enum"] = rules.one_of;
  return schema;
}

Json type_schema(const bool*, const FieldRules&) {
  return Json{{"type", "boolean"}};
}
Json type_schema(const uint32_t*, const FieldRules& rules) {
  return integer_schema(rules);
}
Json type_schema(const uint64_t*, const FieldRules& rules) {
  return integer_schema(rules);
}

Json type_schema(const float*, const FieldRules& rules) {
  Json schema{{"type", "number"}};
  add_bounds(schema, rules, false);
  return schema;
}

Json type_schema(const std::vector<std::string>*, const FieldRules&) {
  return Json{{"type", "array"}, {"items", {{"type", "string"}}}};
}

Json type_schema(const std::vector<TokenId>*, const FieldRules&) {
  return Json{{"type", "array"}, {"items", {{"type", "integer"}, {"minimum", 0}}}};
}

Json type_schema(const std::vector<ChatMessage>*, const FieldRules&) {
  Json item{{"type", "object"}};
  item["properties"]["role"] = Json{{"type", "string"}, {"enum", {"system", "user", "assistant", "tool"}}};
  item["properties"]["content"] = Json{{"type", "string"}};
  item["properties"]["tool_calls"] = Json{{"type", "array"}, {"items", {{"type", "object"}}}};
  item["required"] = {"role"};
  return Json{{"type", "array"}, {"items", std::move(item)}};
}

Json type_schema(const std::vector<std::pair<TokenId, float>>*, const FieldRules&) {
  return Json{{"type", "array"}, {"items", {{"type", "array"}, {"items", {{"type", "number"}}}}}};
}

Json type_schema(const JsonArrayText*, const FieldRules&) {
  return Json{{"type", "array"}, {"items", {{"type", "object"}}}};
}

Json type_schema(const JsonObjectText*, const FieldRules&) {
  return Json{{"type", "object"}};
}

Json object_schema(const std::vector<FieldFacts>& fields) {
  Json schema{{"type", "object"}, {"properties", Json::object()}};
  Json required = Json::array();
  for (const auto& field : fields) {
    if (field.rules.hidden) continue;
    schema["properties"][field.name] = field.schema;
    if (field.rules.required) required.push_back(field.name);
  }
  if (!required.empty()) schema["required"] = std::move(required);
  return schema;
}

Result<Json> params_by_name(const Json& params, const std::vector<FieldFacts>& fields) {
  if (params.is_object()) return params;
  if (!params.is_array()) return Failure(Code::kInvalidArgument, "arguments must be an object or an array");
  std::vector<std::string> order;
  for (const auto& field : fields)
    if (field.rules.positional) order.push_back(field.name);
  if (params.size() > order.size()) {
    std::string names;
    for (const auto& name : order) names += (names.empty() ? "" : ", ") + name;
    return Failure(Code::kInvalidArgument, std::to_string(params.size()) + " arguments by position, at most " +
                                               std::to_string(order.size()) + " are taken" +
                                               (names.empty() ? "" : " (" + names + ")") + "; give the others by name");
  }
  Json named = Json::object();
  for (size_t i = 0; i < params.size(); ++i) named[order[i]] = params[i];
  return named;
}

Failure unknown_field(std::string_view name, const std::vector<FieldFacts>& fields) {
  std::string nearest, known;
  size_t best = std::numeric_limits<size_t>::max();
  for (const auto& field : fields) {
    if (field.rules.hidden) continue;
    const size_t distance = edit_distance(name, field.name);
    if (distance < best) best = distance, nearest = field.name;
    known += (known.empty() ? "" : ", ") + field.name;
  }
  std::string message = "unknown argument " + shown(Json(std::string(name)));
  if (known.empty()) return {Code::kInvalidArgument, message + "; this takes no arguments"};
  // Even a far name helps more than none: whoever wrote it sees at once how this tool spells things.
  return {Code::kInvalidArgument, message + "; did you mean " + nearest + "? Known: " + known};
}

}  // namespace kvasir::mcp
