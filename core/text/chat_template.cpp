#include "core/text/chat_template.h"

#include <algorithm>
#include <array>

#include "core/text/jinja/interpreter.h"
#include "core/text/jinja/json_input.h"
#include "core/text/jinja/library.h"
#include "core/text/jinja/parser.h"

namespace kvasir {
namespace {

using jinja::Kind;
using jinja::Text;
using jinja::Value;

// Values of the request's own fields: `extra` cannot replace them (cf. CVE-2025-62426).
constexpr std::array<std::string_view, 5> kReserved{"messages", "tools", "add_generation_prompt", "bos_token",
                                                    "eos_token"};

constexpr std::array<std::string_view, 2> kThinking{"enable_thinking", "thinking"};

Result<Value> expect_list(const Value& value, const char* what) {
  if (value.is(Kind::kList)) return value;
  return Failure{Code::kInvalidArgument, std::string(what) + " must be a JSON array"};
}

Result<Value> read_extra(jinja::Interpreter& interpreter, const std::string& json) {
  const Value extra = KVASIR_TRY(jinja::read_json(interpreter.heap(), interpreter.budget(), json, "extra"));
  if (!extra.is(Kind::kDict)) return Failure{Code::kInvalidArgument, "extra must be a JSON object"};
  return extra;
}

Result<void> define_extra(jinja::Interpreter& interpreter, const std::string& json) {
  if (json.empty()) return {};
  const Value extra = KVASIR_TRY(read_extra(interpreter, json));
  for (const auto& [name, value] : extra.dict().entries) {
    for (const auto reserved : kReserved) {
      if (name.view() == reserved) {
        return Failure{Code::kInvalidArgument,
                       "extra cannot set '" + std::string(reserved) + "'; it has a field of its own"};
      }
    }
    interpreter.define(name.view(), value);
  }
  return {};
}

Result<void> define_input(jinja::Interpreter& interpreter, const TemplateInput& input) {
  auto& heap = interpreter.heap();
  for (const auto& entry : jinja::global_functions()) {
    interpreter.define(entry.name, heap.native(entry.name, entry.function, Value::none()));
  }
  // Hugging Face passes these two as none where the caller gives none.
  interpreter.define("tools", Value::none());
  interpreter.define("documents", Value::none());
  if (input.enable_thinking) {
    for (const auto name : kThinking) interpreter.define(name, Value::boolean(*input.enable_thinking));
  }
  KVASIR_TRY(define_extra(interpreter, input.extra_json));
  const Value messages = KVASIR_TRY(jinja::read_messages(heap, interpreter.budget(), input.messages_json));
  interpreter.define("messages", KVASIR_TRY(expect_list(messages, "messages")));
  if (!input.tools_json.empty()) {
    const Value tools = KVASIR_TRY(jinja::read_json(heap, interpreter.budget(), input.tools_json, "tools"));
    interpreter.define("tools", KVASIR_TRY(expect_list(tools, "tools")));
  }
  interpreter.define("add_generation_prompt", Value::boolean(input.add_generation_prompt));
  interpreter.define("bos_token", heap.adopt_string(Text(input.bos_token, true)));
  interpreter.define("eos_token", heap.adopt_string(Text(input.eos_token, true)));
  return {};
}

int64_t unix_now() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

struct ChatTemplate::Impl {
  jinja::Template source;
  TemplateLimits limits;
  std::string text;
};

ChatTemplate::ChatTemplate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;

Result<ChatTemplate> ChatTemplate::parse(std::string_view source, const TemplateLimits& limits) {
  auto parsed = KVASIR_TRY(jinja::parse_template(source, limits));
  return ChatTemplate(std::make_unique<Impl>(Impl{std::move(parsed), limits, std::string(source)}));
}

bool ChatTemplate::mentions(std::string_view words) const noexcept {
  return impl_->text.find(words) != std::string::npos;
}

Result<TrustedText> ChatTemplate::render(const TemplateInput& input) const {
  jinja::Interpreter interpreter(impl_->source, impl_->limits);
  interpreter.set_now(input.now_unix_seconds.value_or(unix_now()));
  KVASIR_TRY(define_input(interpreter, input));
  const Text text = KVASIR_TRY(interpreter.render());
  TrustedText out;
  text.for_each_run(0, text.size(), [&out](std::string_view piece, bool trusted) { out.append(piece, trusted); });
  return out;
}

Result<std::vector<std::string>> ChatTemplate::unused(const TemplateInput& input) const {
  const auto named = [this](std::string_view name) { return impl_->source.names.find(name).has_value(); };
  std::vector<std::string> out;
  if (!input.tools_json.empty() && !named("tools")) out.emplace_back("tools");
  if (input.enable_thinking && std::ranges::none_of(kThinking, named)) out.emplace_back(kThinking.front());
  if (input.extra_json.empty()) return out;
  jinja::Interpreter interpreter(impl_->source, impl_->limits);
  const Value extra = KVASIR_TRY(read_extra(interpreter, input.extra_json));
  for (const auto& [name, value] : extra.dict().entries) {
    if (!named(name.view())) out.emplace_back(name.view());
  }
  return out;
}

}  // namespace kvasir
