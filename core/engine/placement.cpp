#include "core/engine/placement.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>
#include <utility>

#include "backends/split/split_backend.h"
#include "core/base/log.h"
#include "core/engine/context_plan.h"

namespace kvasir {
namespace {

// Without a wish the cache is planned for so many tokens; plan_context() gives a fourth of what is free to one context.
constexpr uint64_t kPlannedContext = 4096;
constexpr uint64_t kPlannedContexts = 4;
// Packed weights may be a little larger than those of the file.
constexpr uint64_t kPackedPercent = 102;

/// N of "blk.N.name".
std::optional<uint32_t> layer_of(std::string_view tensor) {
  constexpr std::string_view kPrefix = "blk.";
  if (!tensor.starts_with(kPrefix)) return std::nullopt;
  uint32_t layer = 0;
  const auto [end, error] = std::from_chars(tensor.data() + kPrefix.size(), tensor.data() + tensor.size(), layer);
  if (error != std::errc() || end == tensor.data() + tensor.size() || *end != '.') return std::nullopt;
  return layer;
}

/// The first backend with its first device, and all further devices of it.
Result<std::vector<std::unique_ptr<Backend>>> open_devices(const EngineEnvironment& environment, const EngineKey& key,
                                                           std::unique_ptr<Backend> first) {
  std::vector<std::unique_ptr<Backend>> out;
  out.push_back(std::move(first));
  const auto probe = environment.select_backend(key.backend);
  for (uint32_t device = 1; probe && device < probe->devices; ++device) {
    out.push_back(KVASIR_TRY(environment.open_backend(key.backend, {.threads = key.threads, .activations = key.activations, .device = device})));
  }
  return out;
}

Result<std::unique_ptr<Backend>> open_cpu(const EngineEnvironment& environment, const EngineKey& key) {
  return environment.open_backend("cpu", {.threads = key.threads, .activations = key.activations});
}

Result<PlacedBackend> all_on_cpu(const EngineEnvironment& environment, const EngineKey& key, const Backend& instead_of, const std::string& why) {
  PlacedBackend out;
  out.backend = KVASIR_TRY(open_cpu(environment, key));
  out.note = instead_of.info().name + " was not taken: " + why;
  return out;
}

/// Devices that hold a layer, then the CPU.
Result<PlacedBackend> divide(const EngineEnvironment& environment, const EngineKey& key, const OffloadPlan& plan,
                             std::vector<std::unique_ptr<Backend>> devices) {
  std::vector<std::unique_ptr<Backend>> places;
  std::vector<uint32_t> place_of_device(devices.size(), 0);
  for (size_t i = 0; i < devices.size(); ++i) {
    if (plan.used_bytes[i] == 0) continue;
    place_of_device[i] = static_cast<uint32_t>(places.size());
    places.push_back(std::move(devices[i]));
  }
  const auto cpu = static_cast<uint32_t>(places.size());
  const auto place = [&](uint32_t device) { return device == OffloadPlan::kCpu ? cpu : place_of_device[device]; };
  places.push_back(KVASIR_TRY(open_cpu(environment, key)));
  SplitPlacement placement{.place_of_layer = {}, .embedding = place(plan.embedding_device), .head = place(plan.head_device), .reason = plan.reason};
  for (const uint32_t device : plan.device_of_layer) placement.place_of_layer.push_back(place(device));
  PlacedBackend out;
  out.gpu_layers = plan.gpu_layers;
  out.backend = KVASIR_TRY(make_split_backend(std::move(places), std::move(placement), [&environment] { return environment.available_memory_bytes(); }));
  return out;
}

}  // namespace

OffloadRequest offload_request(const ModelDescription& model, const EngineKey& key) {
  OffloadRequest out;
  const uint64_t most = std::max(1U, model.max_context);
  const uint64_t tokens = key.context > 0 ? std::min<uint64_t>(key.context, most) / 4 * 5 : std::min(kPlannedContext, most) * kPlannedContexts;
  const uint64_t cache = kv_bytes(key.kv_type, uint64_t{2} * model.kv_heads * model.head_dim) * tokens;
  out.layer_bytes.assign(model.layers, cache);
  out.gpu_layers = key.gpu_layers;
  if (out.gpu_layers) out.gpu_layers = std::min(*out.gpu_layers, model.layers);
  for (const ModelDescription::Tensor& tensor : model.tensors) {
    const uint64_t bytes = tensor.bytes / 100 * kPackedPercent;
    const auto layer = layer_of(tensor.name);
    if (layer && *layer < model.layers) out.layer_bytes[*layer] += bytes;
    else if (tensor.name == "output.weight") out.head_bytes += bytes;
    else out.embedding_bytes += bytes;
  }
  return out;
}

Result<PlacedBackend> place_model(const EngineEnvironment& environment, const EngineKey& key, const ModelDescription& model,
                                  std::unique_ptr<Backend> opened) {
  const auto free = opened->free_memory_bytes();
  if (!free) {
    if (key.gpu_layers.value_or(0) == 0) return PlacedBackend{.backend = std::move(opened), .note = {}};
    return Failure{Code::kUnavailable, "--gpu-layers " + std::to_string(*key.gpu_layers) + ": the backend " + opened->info().name + " is no GPU (`kvasir doctor` says why)"};
  }
  OffloadRequest request = offload_request(model, key);
  request.free_bytes = {*free};
  const bool whole_wanted = !key.gpu_layers || *request.gpu_layers == model.layers;
  const auto holds_all = [&](const OffloadPlan& plan) { return plan.gpu_layers == model.layers && plan.head_device != OffloadPlan::kCpu; };
  const auto first = plan_offload(request);
  if (first && whole_wanted && holds_all(*first)) {
    // Nothing to divide: the embedding fits as well, or the CPU looks it up.
    const uint64_t table = request.head_bytes == 0 ? 0 : request.embedding_bytes;
    if (first->used_bytes[0] + table <= *free) return PlacedBackend{.backend = std::move(opened), .gpu_layers = model.layers, .note = {}};
  }
  if (model.shared_caches) {
    const std::string why = "this model's layers read each other's caches, so they cannot be divided";
    if (key.gpu_layers.value_or(0) > 0) return Failure{Code::kUnsupported, "--gpu-layers: " + why};
    return all_on_cpu(environment, key, *opened, key.gpu_layers ? "no layers were asked for it" : "its memory does not hold all layers, and " + why);
  }
  auto devices = KVASIR_TRY(open_devices(environment, key, std::move(opened)));
  request.free_bytes.clear();
  for (const auto& device : devices) request.free_bytes.push_back(device->free_memory_bytes().value_or(0));
  const OffloadPlan plan = KVASIR_TRY(plan_offload(request));
  if (plan.gpu_layers == 0) {
    if (!key.gpu_layers && key.backend != "auto") return Failure{Code::kTooLarge, plan.reason + "; --backend auto takes the CPU"};
    return all_on_cpu(environment, key, *devices.front(), key.gpu_layers ? "no layers were asked for it" : plan.reason);
  }
  log::info("model_divided file=" + key.model + " gpu_layers=" + std::to_string(plan.gpu_layers) + " how=\"" + plan.reason + "\"");
  return divide(environment, key, plan, std::move(devices));
}

}  // namespace kvasir
