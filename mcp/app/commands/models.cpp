// kvasir models ls, kvasir models info: what is in the models folder; what a model file is, or why it is refused.
#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "core/model/model.h"
#include "mcp/app/commands/commands.h"
#include "mcp/app/engine_options.h"
#include "mcp/app/model_choice.h"
#include "rpc/message.h"

namespace kvasir::app {
namespace {

using rpc::Json;

const OptionSpec kTensors{"tensors", OptionKind::kSwitch, "", "", "list the tensors too"};

std::string megabytes(uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MB", static_cast<double>(bytes) / 1e6);
  return text;
}

Json to_json(const ModelDescription& model) {
  Json metadata = Json::object(), tensors = Json::array();
  for (const auto& [key, value] : model.metadata) metadata[key] = value;
  for (const auto& tensor : model.tensors) {
    tensors.push_back({{"name", tensor.name}, {"type", tensor.type}, {"shape", tensor.shape}, {"bytes", tensor.bytes}});
  }
  Json out{{"path", model.path},
          {"name", model.name},
          {"architecture", model.architecture},
          {"quantization", model.quantization},
          {"format", model.format},
          {"parameters", model.parameters},
          {"file_bytes", model.file_bytes},
          {"weight_bytes", model.weight_bytes},
          {"layers", model.layers},
          {"embedding", model.embedding},
          {"heads", model.heads},
          {"kv_heads", model.kv_heads},
          {"head_dim", model.head_dim},
          {"feed_forward", model.feed_forward},
          {"max_context", model.max_context},
          {"vocab_size", model.vocab_size},
          {"has_chat_template", model.has_chat_template},
          {"fingerprint", model.fingerprint},
          {"metadata", std::move(metadata)},
          {"tensors", std::move(tensors)}};
  if (!model.quantized_on_load.empty()) out["quantized_on_load"] = model.quantized_on_load;
  return out;
}

void print_table(Console& console, const ModelDescription& model, bool tensors) {
  const auto row = [&](const char* label, const std::string& value) {
    char text[32];
    std::snprintf(text, sizeof text, "%-14s", label);
    console.line(text + value);
  };
  row("file", model.path);
  row("name", model.name);
  row("format", model.format);
  row("architecture", model.architecture);
  row("quantization", model.quantization);
  if (!model.quantized_on_load.empty()) row("", model.quantized_on_load);
  row("parameters", std::to_string(model.parameters));
  row("size", megabytes(model.file_bytes) + " (weights " + megabytes(model.weight_bytes) + ")");
  row("shape", std::to_string(model.layers) + " layers, width " + std::to_string(model.embedding) + ", heads " +
                   std::to_string(model.heads) + "/" + std::to_string(model.kv_heads) + " of " +
                   std::to_string(model.head_dim) + ", feed-forward " + std::to_string(model.feed_forward));
  row("context", std::to_string(model.max_context));
  row("vocabulary", std::to_string(model.vocab_size));
  row("chat template", model.has_chat_template ? "yes" : "no");
  row("fingerprint", model.fingerprint);
  row("tensors", std::to_string(model.tensors.size()));
  if (!tensors) return;
  for (const auto& tensor : model.tensors) {
    std::string shape;
    for (const uint64_t n : tensor.shape) shape += (shape.empty() ? "" : " x ") + std::to_string(n);
    console.line("  " + tensor.name + "  " + tensor.type + "  " + shape);
  }
}

Result<void> info(Context& context) {
  const std::string name = context.arguments.empty() ? "" : context.arguments.front();
  auto resolved = resolve_model(name, context.paths.models_dir);
  // A file that is not there is input refused; only the absent default model is a missing part of the program.
  if (!resolved && !name.empty()) return Failure{Code::kNotFound, std::move(resolved).error().message};
  const std::string path = KVASIR_TRY(std::move(resolved));
  auto described = describe_model(path, {.quantize = KVASIR_TRY(quantize_option(context.options))});
  // A folder, device or unreadable file is also just a file that is refused.
  if (!described && described.error().code == Code::kIo)
    return Failure{Code::kInvalidArgument, described.error().message};
  const ModelDescription model = KVASIR_TRY(std::move(described));
  (void)KVASIR_TRY(
      load_model_text(path));  // the vocabulary and template are part of the file: refused here, not at load
  if (context.options.enabled("json")) {
    context.console->line(rpc::dump(to_json(model)));
  } else {
    print_table(*context.console, model, context.options.enabled("tensors"));
  }
  return {};
}

Result<void> ls(Context& context) {
  Json list = Json::array();
  for (const std::string& name : list_models(context.paths.models_dir)) {
    const std::string path = context.paths.models_dir + "/" + name;
    const auto model = describe_model(path);
    Json entry = {{"name", name}, {"path", path}};
    if (model) {
      entry.update({{"architecture", model->architecture},
                    {"quantization", model->quantization},
                    {"parameters", model->parameters},
                    {"file_bytes", model->file_bytes}});
    } else {
      entry["refused"] = model.error().message;
    }
    entry["default"] = name == kDefaultModelFile;
    list.push_back(std::move(entry));
  }
  if (context.options.enabled("json")) {
    context.console->line(rpc::dump({{"folder", context.paths.models_dir}, {"models", std::move(list)}}));
    return {};
  }
  if (list.empty()) context.console->note("no models in " + context.paths.models_dir);
  for (const Json& entry : list) {
    const std::string what = entry.contains("refused") ? "refused: " + entry["refused"].get<std::string>()
                                                       : entry["architecture"].get<std::string>() + " " +
                                                             entry["quantization"].get<std::string>() + ", " +
                                                             megabytes(entry["file_bytes"].get<uint64_t>());
    context.console->line(entry["name"].get<std::string>() + "  " + what +
                          (entry["default"].get<bool>() ? "  (default)" : ""));
  }
  return {};
}

}  // namespace

Command models_ls_command() {
  return {{"models ls", "the models in the models folder", {&kJson}, "", false, false, "  kvasir models ls"}, ls};
}

Command models_info_command() {
  return {{"models info",
           "opens and checks one model file without running it",
           {&kTensors, &kQuantize, &kJson},
           "FILE",
           false,
           false,
           "  kvasir models info model.gguf\n  kvasir models info model.gguf --json"},
          info};
}

}  // namespace kvasir::app
