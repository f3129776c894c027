// What a token costs at least: bytes to read, operations to do, and the time that these take at the measured limits.
#include <algorithm>
#include <charconv>

#include "core/engine/bench.h"

namespace kvasir {
namespace {

/// The whole number behind the metadata key that ends so; 0 if there is none.
uint64_t number_of(const ModelDescription& model, std::string_view ending) {
  for (const auto& [key, value] : model.metadata) {
    uint64_t number = 0;
    if (key.ends_with(ending) && std::from_chars(value.data(), value.data() + value.size(), number).ec == std::errc()) return number;
  }
  return 0;
}

bool is_head(const ModelDescription::Tensor& tensor) { return tensor.name == "output.weight" || tensor.name == "lm_head.weight"; }
bool is_table(const ModelDescription::Tensor& tensor) {
  return tensor.name == "token_embd.weight" || tensor.name.ends_with("embed_tokens.weight");
}

}  // namespace

TokenWork work_per_token(const ModelDescription& model, const DevicePeaks& peaks, Activations activations, bool with_head) {
  const bool untied = std::ranges::any_of(model.tensors, is_head);
  const uint64_t experts = number_of(model, ".expert_count");
  const uint64_t used = number_of(model, ".expert_used_count");
  TokenWork work;
  for (const auto& tensor : model.tensors) {
    if (std::ranges::count_if(tensor.shape, [](uint64_t n) { return n > 1; }) < 2) continue;
    if (is_table(tensor) && untied) continue;
    if ((is_table(tensor) || is_head(tensor)) && !with_head) continue;
    double part = 1;  // of the tensor that one token meets
    if (tensor.shape.size() == 3 && experts > 0 && used > 0) part = static_cast<double>(used) / static_cast<double>(experts);
    double operations = 2 * part;
    for (const uint64_t n : tensor.shape) operations *= static_cast<double>(n);
    work.bytes += static_cast<uint64_t>(part * static_cast<double>(tensor.bytes));
    const bool integer = tensor.type != "F32" && tensor.type != "F16" && tensor.type != "BF16" && activations == Activations::kAuto;
    const double peak = integer ? peaks.int8_gops : tensor.type == "BF16" && activations == Activations::kAuto && peaks.bf16_gops > 0 ? peaks.bf16_gops : peaks.f32_gops;
    work.operations += operations;
    work.compute_seconds += peak > 0 ? operations / peak / 1e9 : 0;
  }
  return work;
}

uint64_t bytes_per_token(const ModelDescription& model) { return work_per_token(model, {}, Activations::kAuto, true).bytes; }

double prefill_limit(const TokenWork& work) { return work.compute_seconds > 0 ? 1 / work.compute_seconds : 0; }

double decode_limit(const TokenWork& work, uint64_t kv_bytes, uint32_t batch, double read_gb_s) {
  if (read_gb_s <= 0) return 0;
  const double reading = static_cast<double>(work.bytes + batch * kv_bytes) / read_gb_s / 1e9;
  return batch / std::max(reading, batch * work.compute_seconds);
}

}  // namespace kvasir
