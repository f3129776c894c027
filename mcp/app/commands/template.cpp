// kvasir template: renders a conversation through a chat template, as the engine would.
#include <unistd.h>

#include <chrono>
#include <cstdio>

#include "core/model/model.h"
#include "mcp/app/commands/commands.h"
#include "mcp/app/engine_options.h"
#include "mcp/app/input.h"
#include "mcp/app/model_choice.h"
#include "rpc/message.h"
#include "rpc/parse.h"

namespace kvasir::app {
namespace {

using rpc::Json;

const OptionSpec kFile{"file", OptionKind::kText, "T.jinja", "", "this template, not the model's"};
const OptionSpec kBos{"bos", OptionKind::kText, "TEXT", "",
                      "what bos_token means (default: the model's, or empty with --file)"};
const OptionSpec kEos{"eos", OptionKind::kText, "TEXT", "", "what eos_token means"};
const OptionSpec kNow{"now", OptionKind::kText, "TIME", "",
                      "fixes the clock: YYYY-MM-DD, YYYY-MM-DDTHH:MM:SS (UTC), or Unix seconds"};

/// Days since 1970-01-01 of a checked date, and the seconds of the day.
Result<int64_t> parse_time(const std::string& text) {
  if (const auto seconds = parse_whole(text)) {
    if (*seconds > static_cast<uint64_t>(INT64_MAX)) return Failure{Code::kInvalidArgument, "--now: too large"};
    return static_cast<int64_t>(*seconds);
  }
  int year = 0;
  unsigned month = 0, day = 0, hour = 0, minute = 0, second = 0;
  int used = 0;
  const int date = std::sscanf(text.c_str(), "%4d-%2u-%2u%n", &year, &month, &day, &used);
  const auto rest = text.c_str() + used;
  const bool time = date == 3 && std::sscanf(rest, "T%2u:%2u:%2u", &hour, &minute, &second) == 3;
  const std::chrono::year_month_day ymd{std::chrono::year(year), std::chrono::month(month), std::chrono::day(day)};
  if (date != 3 || !ymd.ok() || hour > 23 || minute > 59 || second > 59 || (!time && *rest != '\0')) {
    return Failure{Code::kInvalidArgument, "--now: '" + text + "' is no time; write 2024-07-26 or 2024-07-26T12:00:00"};
  }
  const auto days = std::chrono::sys_days(ymd).time_since_epoch();
  return std::chrono::seconds(days).count() + hour * 3600 + minute * 60 + second;
}

struct Source {
  std::optional<ChatTemplate> parsed;
  std::string bos, eos;
};

Result<Source> template_source(const Context& context) {
  const Options& options = context.options;
  Source source;
  if (options.has("file")) {
    const std::string text = KVASIR_TRY(read_text_file(options.text("file"), TemplateLimits{}.max_template_bytes));
    source.parsed = KVASIR_TRY(ChatTemplate::parse(text));
  } else {
    const std::string path = KVASIR_TRY(resolve_model(options.text("model"), context.paths.models_dir));
    auto model = KVASIR_TRY(load_model_text(path));
    if (!model.chat_template)
      return Failure{Code::kInvalidArgument, "this model has no chat template; give --file T.jinja"};
    source.parsed = std::move(model.chat_template);
    if (const auto bos = model.tokenizer->bos()) source.bos = model.tokenizer->token_text(*bos);
    if (const auto eos = model.tokenizer->eos()) source.eos = model.tokenizer->token_text(*eos);
  }
  if (options.has("bos")) source.bos = options.text("bos");
  if (options.has("eos")) source.eos = options.text("eos");
  return source;
}

Result<TemplateInput> template_input(const Json& request) {
  if (!request.is_object() || !request.contains("messages") || !request["messages"].is_array()) {
    return Failure{Code::kInvalidArgument,
                   "standard input must be an object with `messages`, an array of {role, content}"};
  }
  TemplateInput input;
  input.add_generation_prompt = false;  // as in the template language's reference: absent means no
  Json extra = Json::object();
  for (const auto& [key, value] : request.items()) {
    if (key == "messages") {
      input.messages_json = rpc::dump(value);
    } else if (key == "tools" && !value.is_null()) {
      input.tools_json = rpc::dump(value);
    } else if (key == "add_generation_prompt" && value.is_boolean()) {
      input.add_generation_prompt = value.get<bool>();
    } else if (key != "tools") {
      extra[key] = value;
    }
  }
  if (!extra.empty()) input.extra_json = rpc::dump(extra);
  return input;
}

Result<void> run(Context& context) {
  if (stdin_is_terminal())
    return Failure{Code::kInvalidArgument, "standard input must hold the request: {\"messages\": [...]}"};
  const Source source = KVASIR_TRY(template_source(context));
  rpc::Limits limits;
  limits.max_message_bytes = kMaxInputBytes;
  const std::string text = KVASIR_TRY(read_stdin());
  const Json request = KVASIR_TRY(rpc::parse_json(text, limits));
  TemplateInput input = KVASIR_TRY(template_input(request));
  input.bos_token = source.bos;
  input.eos_token = source.eos;
  if (context.options.has("now")) input.now_unix_seconds = KVASIR_TRY(parse_time(context.options.text("now")));
  const TrustedText rendered = KVASIR_TRY(source.parsed->render(input));
  if (context.options.enabled("json")) {
    context.console->line(rpc::dump({{"text", rendered.text()}}));
  } else {
    context.console->out(rendered.text());
  }
  return {};
}

}  // namespace

Command template_command() {
  return {{"template",
           "render messages through a chat template",
           {&kModel, &kFile, &kBos, &kEos, &kNow, &kJson},
           "",
           false,
           false,
           "  echo '{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],\"add_generation_prompt\":true}' | kvasir "
           "template\n"
           "  kvasir template --file chat.jinja --bos '<s>' --now 2024-07-26 < request.json"},
          run};
}

}  // namespace kvasir::app
