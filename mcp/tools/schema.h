// One field table per tool: the only place that says which arguments exist, their types, bounds, defaults and order.
// From it come the JSON Schema of tools/list, the parsing of plain JSON-RPC params (by name and by position) and of MCP
// arguments, and every error message. Tables are built once and then immutable; parsing is pure, any thread.
//
// Schemas are flat root objects of type/properties/required/description/enum/minimum/maximum/items only: some clients
// drop a tool, or a whole session, that uses more (protocol.md §12). Hence no "default" and no combinators either:
// defaults are said in the description, "exactly one of" is checked by the tool.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/base/result.h"
#include "core/engine/messages.h"
#include "rpc/json.h"

namespace kvasir::mcp {

using rpc::Json;

/// Bounds and manners of one field. What is absent is not checked.
struct FieldRules {
  std::optional<double> minimum = {}, maximum = {};  ///< numbers; for arrays of numbers: of each element
  size_t max_bytes = 4u << 20;                       ///< strings; in arrays: of each element
  size_t min_bytes = 0;
  size_t max_items = 1'000'000;          ///< arrays
  std::vector<std::string> one_of = {};  ///< strings
  bool required = false;
  bool positional = false;  ///< may be given by position, in the order of the table
  bool hidden = false;      ///< accepted, but not in the MCP schema
};

/// Reads a checked value. `path` names the place in messages: `messages[2].role`. Errors: kInvalidArgument.
Result<void> read_value(const Json& value, const std::string& path, const FieldRules& rules, std::string& out);
Result<void> read_value(const Json& value, const std::string& path, const FieldRules& rules, bool& out);
Result<void> read_value(const Json& value, const std::string& path, const FieldRules& rules, uint32_t& out);
Result<void> read_value(const Json& value, const std::string& path, const FieldRules& rules, uint64_t& out);
Result<void> read_value(const Json& value, const std::string& path, const FieldRules& rules, float& out);
Result<void> read_value(const Json& value, const std::string& path, const FieldRules& rules,
                        std::vector<std::string>& out);
Result<void> read_value(const Json& value, const std::string& path, const FieldRules& rules, std::vector<TokenId>& out);
Result<void> read_value(const Json& value, const std::string& path, const FieldRules& rules,
                        std::vector<ChatMessage>& out);
Result<void> read_value(const Json& value, const std::string& path, const FieldRules& rules,
                        std::vector<std::pair<TokenId, float>>& out);
/// An array of objects, kept as JSON text (tool definitions for the chat template).
struct JsonArrayText {
  std::string text;
};
Result<void> read_value(const Json& value, const std::string& path, const FieldRules& rules, JsonArrayText& out);
/// An object, kept as JSON text (variables for the chat template).
struct JsonObjectText {
  std::string text;
};
Result<void> read_value(const Json& value, const std::string& path, const FieldRules& rules, JsonObjectText& out);

/// The schema of a type, without its description. The pointer only selects the overload.
Json type_schema(const std::string*, const FieldRules& rules);
Json type_schema(const bool*, const FieldRules& rules);
Json type_schema(const uint32_t*, const FieldRules& rules);
Json type_schema(const uint64_t*, const FieldRules& rules);
Json type_schema(const float*, const FieldRules& rules);
Json type_schema(const std::vector<std::string>*, const FieldRules& rules);
Json type_schema(const std::vector<TokenId>*, const FieldRules& rules);
Json type_schema(const std::vector<ChatMessage>*, const FieldRules& rules);
Json type_schema(const std::vector<std::pair<TokenId, float>>*, const FieldRules& rules);
Json type_schema(const JsonArrayText*, const FieldRules& rules);
Json type_schema(const JsonObjectText*, const FieldRules& rules);

/// What is known of one field once its type is forgotten.
struct FieldFacts {
  std::string name;
  FieldRules rules;
  Json schema;  ///< with description
};

Json object_schema(const std::vector<FieldFacts>& fields);
/// Params as an object: positional ones are named. Errors: too many, not an object or array.
Result<Json> params_by_name(const Json& params, const std::vector<FieldFacts>& fields);
/// The message for a name that is no field: names the nearest one and lists all.
Failure unknown_field(std::string_view name, const std::vector<FieldFacts>& fields);

namespace detail {
template <class T>
struct Unwrapped {
  using Type = T;
};
template <class T>
struct Unwrapped<std::optional<T>> {
  using Type = T;
};
}  // namespace detail

template <class Args>
class FieldTable {
 public:
  /// `member` is a plain value (its initialiser is the default, shown in the description) or std::optional.
  template <class T>
  FieldTable& add(std::string name, T Args::* member, std::string description, FieldRules rules = {}) {
    using Value = typename detail::Unwrapped<T>::Type;
    if constexpr (std::is_same_v<T, bool>) description += Args{}.*member ? " Default true." : " Default false.";
    if constexpr (std::is_same_v<T, uint32_t>) description += " Default " + std::to_string(Args{}.*member) + ".";
    Json schema = type_schema(static_cast<const Value*>(nullptr), rules);
    schema["description"] = std::move(description);
    readers_.push_back([member, rules, name](Args& args, const Json& value) -> Result<void> {
      Value out{};
      KVASIR_TRY(read_value(value, name, rules, out));
      args.*member = std::move(out);
      return {};
    });
    facts_.push_back({std::move(name), std::move(rules), std::move(schema)});
    return *this;
  }

  const std::vector<FieldFacts>& facts() const noexcept { return facts_; }
  Json schema() const { return object_schema(facts_); }

  /// Errors: kInvalidArgument; the message names the path and what to change.
  Result<Args> parse(const Json& params) const {
    const Json named = KVASIR_TRY(params_by_name(params, facts_));
    Args args;
    for (const auto& [name, value] : named.items()) {
      size_t index = 0;
      while (index < facts_.size() && facts_[index].name != name) ++index;
      if (index == facts_.size()) return unknown_field(name, facts_);
      KVASIR_TRY(readers_[index](args, value));
    }
    for (const auto& field : facts_)
      if (field.rules.required && !named.contains(field.name))
        return Failure(Code::kInvalidArgument, "missing argument: " + field.name);
    return args;
  }

 private:
  std::vector<FieldFacts> facts_;
  std::vector<std::function<Result<void>(Args&, const Json&)>> readers_;  ///< one per fact
};

}  // namespace kvasir::mcp
