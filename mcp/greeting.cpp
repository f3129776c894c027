#include "mcp/greeting.h"

#include <array>
#include <utility>

namespace kvasir::mcp {
namespace {

using rpc::Json;

constexpr std::array<std::pair<const char*, KvType>, 3> kKvTypes{
    {{"f16", KvType::kF16}, {"q8_0", KvType::kQ8_0}, {"f32", KvType::kF32}}};
constexpr std::array<std::pair<const char*, QuantizeOnLoad>, 4> kQuantizations{{{"", QuantizeOnLoad::kNone},
                                                                             {"q8_0", QuantizeOnLoad::kQ8_0},
                                                                             {"q4_0", QuantizeOnLoad::kQ4_0},
                                                                             {"bf16", QuantizeOnLoad::kBF16}}};

Failure bad(const char* member) {
  return Failure{Code::kInvalidArgument, std::string("greeting: member '") + member + "' is missing or wrong"};
}

Result<std::string> text_of(const Json& from, const char* member) {
  const auto at = from.find(member);
  if (at == from.end() || !at->is_string()) return bad(member);
  return at->get<std::string>();
}

Result<uint32_t> number_of(const Json& from, const char* member) {
  const auto at = from.find(member);
  if (at == from.end() || !at->is_number_unsigned() || at->get<uint64_t>() > UINT32_MAX) return bad(member);
  return at->get<uint32_t>();
}

Result<bool> switch_of(const Json& from, const char* member) {
  const auto at = from.find(member);
  if (at == from.end() || !at->is_boolean()) return bad(member);
  return at->get<bool>();
}

Json engine_json(const EngineKey& key) {
  const char* kv = "f16";
  for (const auto& [name, type] : kKvTypes)
    if (type == key.kv_type) kv = name;
  const char* quantize = "";
  for (const auto& [name, how] : kQuantizations)
    if (how == key.quantize) quantize = name;
  return {{"model", key.model},     {"context", key.context},
          {"threads", key.threads}, {"backend", key.backend},
          {"kv_type", kv},          {"exact_activations", key.activations == Activations::kF32},
          {"quantize", quantize},   {"prompt_lookup", key.prompt_lookup},
          {"gpu_layers", key.gpu_layers ? Json(*key.gpu_layers) : Json(nullptr)}};
}

Result<EngineKey> read_engine(const Json& from) {
  EngineKey key;
  key.model = KVASIR_TRY(text_of(from, "model"));
  key.context = KVASIR_TRY(number_of(from, "context"));
  key.threads = KVASIR_TRY(number_of(from, "threads"));
  key.backend = KVASIR_TRY(text_of(from, "backend"));
  const std::string kv = KVASIR_TRY(text_of(from, "kv_type"));
  bool known = false;
  for (const auto& [name, type] : kKvTypes)
    if (kv == name) key.kv_type = type, known = true;
  if (!known) return bad("kv_type");
  const bool exact = KVASIR_TRY(switch_of(from, "exact_activations"));
  key.activations = exact ? Activations::kF32 : Activations::kAuto;
  const std::string quantize = KVASIR_TRY(text_of(from, "quantize"));
  known = false;
  for (const auto& [name, how] : kQuantizations)
    if (quantize == name) key.quantize = how, known = true;
  if (!known) return bad("quantize");
  key.prompt_lookup = KVASIR_TRY(switch_of(from, "prompt_lookup"));
  const auto layers = from.find("gpu_layers");
  if (layers == from.end()) return bad("gpu_layers");
  if (!layers->is_null()) key.gpu_layers = KVASIR_TRY(number_of(from, "gpu_layers"));
  return key;
}

}  // namespace

Json to_json(const Greeting& greeting) {
  return {
      {"kvasir", Greeting::kProtocol},          {"speaks", greeting.speaks == Greeting::Speaks::kMcp ? "mcp" : "rpc"},
      {"engine", engine_json(greeting.engine)}, {"preload", greeting.preload},
      {"version", greeting.build.version},      {"file_time_ns", greeting.build.file_time_ns}};
}

Result<Build> read_build(const Json& json) {
  if (!json.is_object()) return bad("kvasir");
  Build out;
  out.version = KVASIR_TRY(text_of(json, "version"));
  const auto time = json.find("file_time_ns");
  if (time == json.end() || !time->is_number_integer()) return bad("file_time_ns");
  out.file_time_ns = time->get<int64_t>();
  return out;
}

Result<Greeting> read_greeting(const Json& json) {
  Greeting out;
  out.build = KVASIR_TRY(read_build(json));
  const uint32_t protocol = KVASIR_TRY(number_of(json, "kvasir"));
  if (protocol != Greeting::kProtocol)
    return Failure{Code::kUnsupported,
                   "the front end is of kvasir " + out.build.version +
                       ", which speaks otherwise with its host: restart the program that started it"};
  const std::string speaks = KVASIR_TRY(text_of(json, "speaks"));
  if (speaks != "mcp" && speaks != "rpc") return bad("speaks");
  out.speaks = speaks == "mcp" ? Greeting::Speaks::kMcp : Greeting::Speaks::kJsonRpc;
  const auto engine = json.find("engine");
  if (engine == json.end() || !engine->is_object()) return bad("engine");
  out.engine = KVASIR_TRY(read_engine(*engine));
  out.preload = KVASIR_TRY(switch_of(json, "preload"));
  return out;
}

}  // namespace kvasir::mcp
