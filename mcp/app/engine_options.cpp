#include "mcp/app/engine_options.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "mcp/app/model_choice.h"

namespace kvasir::app {

const OptionSpec kModel{"model", OptionKind::kText, "PATH", "",
                        "GGUF file, Hugging Face folder, or a name from the models folder (default: SmolLM2-135M)"};
const OptionSpec kContext{"ctx", OptionKind::kWhole, "N", "",
                          "context in tokens (default: the model's, capped by memory)"};
const OptionSpec kThreads{"threads", OptionKind::kWhole, "N", "",
                          "threads (default: physical cores within the CPU quota)"};
const OptionSpec kBackend{"backend", OptionKind::kText, "NAME", "auto",
                          "auto, cpu, or a name of `kvasir doctor`; one that cannot run is an error"};
const OptionSpec kGpuLayers{"gpu-layers", OptionKind::kText, "N", "auto",
                            "layers on the GPU, the rest with the CPU: a number, or auto (as many as fit)"};
const OptionSpec kKvType{"kv-type", OptionKind::kText, "TYPE", "f16", "type of the KV cache: f16, q8_0, f32"};
const OptionSpec kActivations{"activations", OptionKind::kText, "TYPE", "auto",
                              "auto (8 bits for integer weights) or f32 (exact, slow)"};
const OptionSpec kQuantize{"quantize", OptionKind::kText, "TYPE", "",
                           "quantize float weights while loading: q8_0, q4_0 or bf16 (default: keep the file's types)"};
const OptionSpec kSpeculate{"speculate", OptionKind::kText, "WHEN", "auto",
                            "guess tokens from the text so far: auto (where it is faster; same answers) or off"};
const OptionSpec kPackedWeights{"packed-weights", OptionKind::kText, "WHEN", "auto",
                                "keep packed weights of larger models in the cache folder: auto or off"};
const OptionSpec kJson{"json", OptionKind::kSwitch, "", "", "one JSON object on stdout"};

namespace {
constexpr uint64_t kMaxContext = 1u << 24;
constexpr uint64_t kMaxThreads = 1024;
}  // namespace

std::vector<const OptionSpec*> engine_options(std::vector<const OptionSpec*> more) {
  std::vector<const OptionSpec*> all{&kModel, &kContext, &kThreads, &kBackend, &kGpuLayers, &kKvType, &kActivations, &kQuantize};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

std::vector<const OptionSpec*> serving_options(std::vector<const OptionSpec*> more) {
  more.insert(more.begin(), {&kSpeculate, &kPackedWeights});
  return engine_options(std::move(more));
}

Result<EngineKey> engine_key(const Options& options) {
  EngineKey key;
  key.model = options.text("model");
  if (options.whole("ctx") > kMaxContext) return Failure{Code::kInvalidArgument, "--ctx: at most 16777216"};
  if (options.whole("threads") > kMaxThreads) return Failure{Code::kInvalidArgument, "--threads: at most 1024"};
  key.context = static_cast<uint32_t>(options.whole("ctx"));
  key.threads = static_cast<uint32_t>(options.whole("threads"));
  key.backend = options.text("backend");
  const std::string kv = options.text("kv-type");
  if (kv == "f16") {
    key.kv_type = KvType::kF16;
  } else if (kv == "q8_0") {
    key.kv_type = KvType::kQ8_0;
  } else if (kv == "f32") {
    key.kv_type = KvType::kF32;
  } else {
    return Failure{Code::kInvalidArgument, "--kv-type: '" + kv + "' is none of f16, q8_0, f32"};
  }
  const std::string activations = options.text("activations");
  if (activations != "auto" && activations != "f32") {
    return Failure{Code::kInvalidArgument, "--activations: '" + activations + "' is neither auto nor f32"};
  }
  key.activations = activations == "f32" ? Activations::kF32 : Activations::kAuto;
  key.quantize = KVASIR_TRY(quantize_option(options));
  key.gpu_layers = KVASIR_TRY(gpu_layers_option(options.text("gpu-layers")));
  if (std::ranges::count(options.specs(), &kSpeculate) == 0) return key;
  const std::string speculate = options.text("speculate");
  if (speculate != "auto" && speculate != "off") {
    return Failure{Code::kInvalidArgument, "--speculate: '" + speculate + "' is neither auto nor off"};
  }
  key.prompt_lookup = speculate == "auto";
  return key;
}

Result<std::string> packed_weights_folder(const Context& context) {
  const std::string when = context.options.text("packed-weights");
  if (when != "auto" && when != "off") {
    return Failure{Code::kInvalidArgument, "--packed-weights: '" + when + "' is neither auto nor off"};
  }
  return when == "off" ? std::string() : context.paths.cache_dir + "/weights";
}

Result<std::optional<uint32_t>> gpu_layers_option(const std::string& text) {
  if (text == "auto") return std::optional<uint32_t>();
  uint32_t layers = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), layers);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) {
    return Failure{Code::kInvalidArgument, "--gpu-layers: '" + text + "' is neither auto nor a number of layers"};
  }
  return std::optional(layers);
}

Result<QuantizeOnLoad> quantize_option(const Options& options) {
  const std::string type = options.text("quantize");
  if (type.empty()) return QuantizeOnLoad::kNone;
  if (type == "q8_0") return QuantizeOnLoad::kQ8_0;
  if (type == "q4_0") return QuantizeOnLoad::kQ4_0;
  if (type == "bf16") return QuantizeOnLoad::kBF16;
  return Failure{Code::kInvalidArgument, "--quantize: '" + type + "' is none of q8_0, q4_0, bf16"};
}

Result<EngineKey> resolved_engine_key(const Context& context) {
  EngineKey key = KVASIR_TRY(engine_key(context.options));
  key.model = KVASIR_TRY(resolve_model(key.model, context.paths.models_dir));
  return key;
}

}  // namespace kvasir::app
