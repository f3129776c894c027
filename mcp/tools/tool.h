// A tool as both protocols see it: arguments in, one engine command out; one final engine event in, a JSON result out.
// Tools hold no state and do no work of their own. Immutable after the start; any thread.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/engine/messages.h"
#include "mcp/tools/schema.h"
#include "sessions/session_service.h"

namespace kvasir::mcp {

/// What a session tool found out, and what the engine should be asked before it is the answer.
struct SessionStep {
  Json result = {};
  std::optional<CommandBody> ask = {};
  /// Adds the engine's final event to the result; a failure is an event too (the session's part is done already).
  std::function<void(Json& result, const Event& event)> merge = {};
  /// Instead of merge: what comes after the engine's final event.
  std::function<void(const Event& event, SessionService& sessions, const std::string& principal, Then<SessionStep> then)>
      next = {};
};
using SessionWork = std::function<void(SessionService& sessions, const std::string& principal, Then<SessionStep> then)>;

/// Checked arguments, ready for the engine (the dispatcher fills in the id) or for the sessions.
struct ToolRequest {
  CommandBody command = {};
  bool stream = false;                   ///< plain JSON-RPC: send deltas as notifications
  std::optional<TurnRequest> turn = {};  ///< generate_text in a session: the dispatcher fills in principal and prompt
  std::optional<std::string> overflow = {};  ///< of that turn; absent: the session's own policy
  SessionWork session = {};                  ///< instead of command
};

/// Hints of MCP 2025-03-26 and later; a client may ask its user before a tool that is not read-only.
struct ToolHints {
  bool read_only = false;
  bool destructive = false;
  bool idempotent = false;
};

struct Tool {
  std::string name;  ///< also the plain JSON-RPC method
  std::string title;
  std::string description;
  bool over_mcp = true;         ///< false: plain JSON-RPC only
  bool text_is_answer = false;  ///< MCP's text block is the result's `text`, not its JSON
  ToolHints hints;
  Json input_schema, output_schema;
  /// Errors: kInvalidArgument, kUnsupported; the message names the path.
  std::function<Result<ToolRequest>(const Json& params)> parse;
  /// The structured result of the final event. Errors: kInternal for an event that is no answer to this tool.
  std::function<Result<Json>(const Event& event)> result;
};

/// One field of a result, for the output schema.
struct OutputField {
  const char* name;
  const char* type;  ///< JSON type; "[integer]" etc. for arrays, "[[number]]" for arrays of arrays
  const char* description;
  bool required = true;
};
Json output_schema(const std::vector<OutputField>& fields);

/// Cuts what is too long for a client's buffers: drops the lists named in `droppable` (in this order), then shortens
/// `text`, until the JSON is at most `max_bytes`; then `cut` is true. Returns whether anything was cut.
bool bound_result(Json& result, const std::vector<std::string>& droppable, size_t max_bytes);
/// TypeScript clients cut the connection above 10 MiB a line, and MCP carries the text twice.
inline constexpr size_t kMaxResultBytes = 4u << 20;

/// All tools, in the fixed order of tools/list.
class ToolSet {
 public:
  ToolSet();
  const std::vector<Tool>& all() const noexcept { return tools_; }
  const Tool* find(std::string_view name) const noexcept;

 private:
  std::vector<Tool> tools_;
};

}  // namespace kvasir::mcp
