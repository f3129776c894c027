// Arbitrary bytes as a chat template, rendered over a fixed conversation: it must answer within its limits, the runs of
// trust must cover the text, and what the user wrote must never come out trusted.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "core/text/chat_template.h"
#include "tests/fuzz/targets.h"

namespace {

// A character that no template here says itself (one that does is skipped), in every text of the user.
constexpr std::string_view kMark = "\xEE\x80\x80";  // U+E000

void require(bool condition) {
  if (!condition) std::abort();
}

kvasir::TemplateInput input() {
  kvasir::TemplateInput in;
  in.messages_json =
      R"([{"role": "system", "content": "\ue000Be brief\ue000"}, {"role": "user", "content": "\ue000\ue000"}, {"role": "assistant",)"
      R"( "content": null, "tool_calls": [{"id": "\ue0001", "function": {"name": "f\ue000", "arguments": {"a\ue000": [1, 2.5, true]}}}]},)"
      R"( {"role": "tool", "content": "\ue000 \ue000\n\ue000,\ue000"}])";
  in.tools_json = R"([{"type": "function", "function": {"name": "f\ue000", "parameters": {"x": {"type": "\ue000"}}}}])";
  in.bos_token = "<s>";
  in.eos_token = "</s>";
  in.now_unix_seconds = 0;
  return in;
}

/// Escapes can make the mark, or parts of it, out of the template's own trusted bytes.
bool can_say_mark(std::string_view source) {
  return source.find('\\') != std::string_view::npos || source.find(kMark) != std::string_view::npos;
}

}  // namespace

void kvasir::fuzz::template_trust(std::string_view source) {
  kvasir::TemplateLimits limits;
  limits.max_operations = 20'000;
  limits.max_output_bytes = 1u << 16;
  limits.max_time = std::chrono::milliseconds(500);
  const auto parsed = kvasir::ChatTemplate::parse(source, limits);
  if (!parsed) {
    require(!parsed.error().message.empty());
    return;
  }
  static const auto kInput = input();
  const auto rendered = parsed->render(kInput);
  if (!rendered) return;
  const std::string& text = rendered->text();
  require(text.size() <= limits.max_output_bytes);
  size_t at = 0;
  for (const auto& run : rendered->runs()) {
    require(run.begin == at && run.end > run.begin);
    at = run.end;
    if (!run.trusted || can_say_mark(source)) continue;
    require(std::string_view(text).substr(run.begin, run.end - run.begin).find(kMark) == std::string_view::npos);
  }
  require(at == text.size());
}
