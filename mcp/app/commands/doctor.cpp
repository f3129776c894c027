// kvasir doctor: what works here and what does not, with reasons; every limit; the last error in the log.
#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "backends/registry.h"
#include "core/engine/placement.h"
#include "core/engine/engine.h"
#include "core/model/model.h"
#include "core/text/tokenizer.h"
#include "mcp/app/commands/commands.h"
#include "mcp/app/engine_options.h"
#include "mcp/app/model_choice.h"
#include "rpc/limits.h"
#include "rpc/message.h"
#include "sessions/kv_block_files.h"
#include "sessions/session_types.h"

namespace kvasir::app {
namespace {

using rpc::Json;

constexpr std::streamoff kLogTailBytes = 1 << 20;

/// The last line of the log file at error level; empty if there is none.
std::string last_logged_error(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  in.seekg(0, std::ios::end);
  const std::streamoff size = in.tellg();
  in.seekg(std::max<std::streamoff>(0, size - kLogTailBytes));
  std::string line, last;
  while (std::getline(in, line)) {
    if (line.find(" error ") != std::string::npos || line.find("\"level\":\"error\"") != std::string::npos) last = line;
  }
  return last;
}

Json machine() {
  utsname name{};
  uname(&name);
  const auto pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  return {{"system", std::string(name.sysname) + " " + name.release + " " + name.machine},
          {"logical_cores", std::thread::hardware_concurrency()},
          {"memory_bytes", static_cast<uint64_t>(pages) * static_cast<uint64_t>(page)}};
}

Json backends(const std::string& wanted) {
  const BackendRegistry registry = BackendRegistry::create();
  Json out = {{"probes", Json::array()}};
  for (const Probe& probe : registry.probes()) {
    out["probes"].push_back({{"name", probe.name}, {"usable", probe.usable}, {"reason", probe.reason}});
  }
  const auto chosen = registry.select(wanted);
  out["wanted"] = wanted;
  out["chosen"] = chosen ? Json(chosen->name) : Json(nullptr);
  if (!chosen) out["error"] = chosen.error().message;
  return out;
}

/// How a load would divide the model's layers between GPU and CPU now.
Json offload(const Options& options, const ModelDescription& model) {
  const std::string all = "all " + std::to_string(model.layers) + " layers on the CPU";
  EngineKey key;
  const auto wanted = gpu_layers_option(options.text("gpu-layers"));
  if (!wanted) return {{"gpu_layers", nullptr}, {"reason", wanted.error().message}};
  key.gpu_layers = *wanted;
  const BackendRegistry registry = BackendRegistry::create();
  const auto probe = registry.select(options.text("backend"));
  if (!probe || !probe->name.starts_with("cuda")) return {{"gpu_layers", 0}, {"reason", "no GPU is used: " + all}};
  const auto backend = registry.open(probe->name, {});
  if (!backend) return {{"gpu_layers", nullptr}, {"reason", backend.error().message}};
  OffloadRequest request = offload_request(model, key);
  request.free_bytes = {(*backend)->free_memory_bytes().value_or(0)};
  const auto plan = plan_offload(request);
  if (!plan) return {{"gpu_layers", nullptr}, {"reason", plan.error().message}};
  return {{"gpu_layers", plan->gpu_layers}, {"reason", plan->reason}};
}

Json model(const Options& options, const Paths& paths) {
  const std::string name = options.text("model");
  const auto quantize = quantize_option(options);
  if (!quantize) return {{"usable", false}, {"reason", quantize.error().message}};
  const auto path = resolve_model(name, paths.models_dir);
  if (!path) return {{"usable", false}, {"reason", path.error().message}};
  const auto described = describe_model(*path, {.quantize = *quantize});
  if (!described) return {{"usable", false}, {"path", *path}, {"reason", described.error().message}};
  Json out{{"usable", true},
          {"path", *path},
          {"name", described->name},
          {"architecture", described->architecture},
          {"quantization", described->quantization}};
  if (!described->quantized_on_load.empty()) out["quantized_on_load"] = described->quantized_on_load;
  out["offload"] = offload(options, *described);
  return out;
}

Json limits() {
  const rpc::Limits rpc;
  const EngineLimits engine;
  const TemplateLimits templates;
  const TokenizerLimits tokenizer;
  const SessionLimits sessions;
  const KvBlockLimits blocks;
  return {{"protocol",
           {{"max_message_bytes", rpc.max_message_bytes},
            {"max_depth", rpc.max_depth},
            {"max_values", rpc.max_values},
            {"max_number_text_bytes", rpc.max_number_text_bytes},
            {"max_id_bytes", rpc.max_id_bytes},
            {"max_batch", rpc.max_batch},
            {"max_in_flight", rpc.max_in_flight},
            {"max_in_flight_total", rpc.max_in_flight_total},
            {"max_connections", rpc.max_connections},
            {"max_connections_per_peer", rpc.max_connections_per_peer},
            {"max_http_header_bytes", rpc.max_http_header_bytes},
            {"max_http_headers", rpc.max_http_headers},
            {"outbox_soft_bytes", rpc.outbox_soft_bytes},
            {"outbox_hard_bytes", rpc.outbox_hard_bytes},
            {"header_timeout_s", rpc.header_timeout.count()},
            {"body_timeout_s", rpc.body_timeout.count()},
            {"idle_timeout_s", rpc.idle_timeout.count()},
            {"slow_reader_timeout_s", rpc.slow_reader_timeout.count()}}},
          {"engine",
           {{"max_commands", engine.max_commands},
            {"max_sequences", engine.max_sequences},
            {"max_step_rows", engine.max_step_rows},
            {"max_prompt_tokens", engine.max_prompt_tokens},
            {"max_stop_strings", engine.max_stop_strings},
            {"max_logit_bias", engine.max_logit_bias},
            {"max_loaded_models", engine.max_loaded_models},
            {"idle_unload_ms", engine.idle_unload_ms}}},
          {"templates",
           {{"max_template_bytes", templates.max_template_bytes},
            {"max_operations", templates.max_operations},
            {"max_depth", templates.max_depth},
            {"max_output_bytes", templates.max_output_bytes},
            {"max_time_ms", templates.max_time.count()}}},
          {"tokenizer",
           {{"max_tokens", tokenizer.max_tokens},
            {"max_token_bytes", tokenizer.max_token_bytes},
            {"max_text_bytes", tokenizer.max_text_bytes}}},
          {"sessions",
           {{"max_sessions_per_principal", sessions.max_sessions_per_principal},
            {"max_turns_per_session", sessions.max_turns_per_session},
            {"max_checkpoints_per_session", sessions.max_checkpoints_per_session},
            {"max_turn_bytes", sessions.max_turn_bytes},
            {"max_title_bytes", sessions.max_title_bytes},
            {"max_name_bytes", sessions.max_name_bytes},
            {"max_page_rows", sessions.max_page_rows},
            {"max_conversation_bytes_per_principal", sessions.max_bytes_per_principal},
            {"max_block_bytes", blocks.max_bytes},
            {"max_block_bytes_per_principal", blocks.max_bytes_per_principal},
            {"max_queued_block_bytes", blocks.max_queued_bytes}}}};
}

std::string plain(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

/// Two levels of names and values; lists of objects one line each.
void print(Console& console, const Json& report) {
  for (const auto& [section, content] : report.items()) {
    if (!content.is_object()) {
      console.line(section + ": " + plain(content));
      continue;
    }
    console.line(section);
    for (const auto& [key, value] : content.items()) {
      if (key == "probes") {
        for (const Json& probe : value) {
          console.line(std::string(probe["usable"].get<bool>() ? "  + " : "  - ") + probe["name"].get<std::string>() +
                       ": " + probe["reason"].get<std::string>());
        }
      } else if (value.is_object()) {
        std::string line = "  " + key + ":";
        for (const auto& [name, limit] : value.items()) line += " " + name + "=" + plain(limit);
        console.line(line);
      } else {
        console.line("  " + key + ": " + plain(value));
      }
    }
  }
}

Result<void> run(Context& context) {
  Json report;
  report["version"] = product_version();
  report["machine"] = machine();
  report["paths"] = {{"program", context.paths.program},   {"config_file", context.config_file},
                     {"data_dir", context.paths.data_dir}, {"models_dir", context.paths.models_dir},
                     {"log_file", context.paths.log_file}, {"cache_dir", context.paths.cache_dir}};
  report["backends"] = backends(context.options.text("backend"));
  report["model"] = model(context.options, context.paths);
  report["limits"] = limits();
  const std::string error = last_logged_error(context.paths.log_file);
  report["last_error"] = error.empty() ? "none" : error;
  if (context.options.enabled("json")) {
    context.console->line(rpc::dump(report));
  } else {
    print(*context.console, report);
  }
  if (report["backends"]["chosen"].is_null())
    return Failure{Code::kUnavailable, report["backends"]["error"].get<std::string>()};
  if (!report["model"]["usable"].get<bool>())
    return Failure{Code::kUnavailable, report["model"]["reason"].get<std::string>()};
  return {};
}

}  // namespace

Command doctor_command() {
  return {{"doctor",
           "what works here, and why the rest does not",
           {&kModel, &kBackend, &kGpuLayers, &kQuantize, &kJson},
           "",
           false,
           false,
           "  kvasir doctor\n  kvasir doctor --model my.gguf --json"},
          run};
}

}  // namespace kvasir::app
