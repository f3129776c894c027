// A model's Jinja chat template, parsed once and rendered with limits. Every byte of the result knows whether it came
// from the template or from a user's value, through every filter (decisions.md 17). Immutable, thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/text/trusted_text.h"

namespace kvasir {

/// reliability.md C1. Printed by `doctor`.
struct TemplateLimits {
  size_t max_template_bytes = 1u << 20;
  uint64_t max_operations = 2'000'000;
  uint32_t max_depth = 64;
  size_t max_output_bytes = 8u << 20;
  uint32_t max_range = 10'000;
  std::chrono::milliseconds max_time{500};
};

/// What a request gives to a template. JSON texts are parsed by the template engine (with its own depth limit).
struct TemplateInput {
  std::string messages_json;  ///< array of {role, content, tool_calls?, ...}: user bytes, never trusted
  std::string tools_json;     ///< array, or empty
  std::string extra_json;     ///< object of further variables (documents, reasoning_effort, ...), or empty
  /// Given under the names that templates have for it, `enable_thinking` and `thinking`; extra_json goes before.
  std::optional<bool> enable_thinking;
  bool add_generation_prompt = true;
  std::string bos_token, eos_token;         ///< trusted
  std::optional<int64_t> now_unix_seconds;  ///< fixes the clock of strftime_now (UTC)
};

class ChatTemplate {
 public:
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;

  /// Errors: kInvalidArgument with line and what was expected; kTooLarge.
  static Result<ChatTemplate> parse(std::string_view source, const TemplateLimits& limits = {});
  /// True if the template's source holds `words`.
  bool mentions(std::string_view words) const noexcept;
  /// Errors: kInvalidArgument (the template's own raise_exception text, undefined use), kTooLarge (a limit, by name).
  Result<TrustedText> render(const TemplateInput& input) const;
  /// Which of tools, enable_thinking and the extra variables were given and are never named by the template.
  /// Errors: as render() for what is no JSON.
  Result<std::vector<std::string>> unused(const TemplateInput& input) const;

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace kvasir
