// generate_text: continue a prompt, a conversation or token ids. Names, defaults and result as in interface.md.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mcp/tools/schema.h"
#include "mcp/tools/template_fields.h"
#include "mcp/tools/tool.h"

namespace kvasir::mcp {

struct GenerateArgs : TemplateArgs {
  std::optional<std::string> prompt;
  std::optional<std::vector<ChatMessage>> messages;
  std::optional<std::vector<TokenId>> tokens;
  std::optional<std::string> system;
  std::optional<std::string> session_id, expected_head, idempotency_key;
  uint32_t max_tokens = 100;
  std::optional<float> temperature, top_p, min_p, repeat_penalty, frequency_penalty, presence_penalty;
  std::optional<uint32_t> top_k;
  std::vector<std::pair<TokenId, float>> logit_bias;
  std::optional<uint64_t> seed;
  std::vector<std::string> stop;
  bool stream = false;
  bool raw = false;
  std::optional<std::string> suffix;
  std::optional<uint32_t> reasoning_budget;
  std::optional<uint64_t> max_time_ms;
  std::optional<std::string> priority, overflow;
  uint32_t logprobs = 0;
  bool return_tokens = false;
  bool ignore_eos = false;
  bool digest_logits = false;
};

/// The one list of generate_text's arguments; the command line takes its names and bounds from here too.
const FieldTable<GenerateArgs>& generate_fields();
/// Checks what a table cannot (exactly one source, what goes together). Errors: kInvalidArgument, kUnsupported.
Result<ToolRequest> to_request(GenerateArgs args);
/// Without a session. Errors: as to_request(), kInvalidArgument for a session_id.
Result<Generate> to_command(GenerateArgs args);
/// "error", "truncate_oldest", "sliding_window", "compress". Errors: kInvalidArgument.
Result<OverflowPolicy> overflow_policy(const std::string& name);
const char* overflow_name(OverflowPolicy policy) noexcept;
Json to_json(const GenerateResult& result);
const char* finish_reason_name(FinishReason reason) noexcept;

Tool generate_text_tool();

}  // namespace kvasir::mcp
