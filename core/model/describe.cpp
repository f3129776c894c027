#include "core/model/describe.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include "core/base/log.h"
#include "core/model/file_source.h"
#include "core/model/fingerprint.h"
#include "core/text/utf8_stream.h"

namespace kvasir {
namespace {

/// The label that GGUF's general.file_type number stands for, where it names a mix that single tensors do not show.
std::string_view mix_label(int64_t file_type) {
  switch (file_type) {
    case 10:
      return "Q2_K";
    case 11:
      return "Q3_K_S";
    case 12:
      return "Q3_K_M";
    case 13:
      return "Q3_K_L";
    case 14:
      return "Q4_K_S";
    case 15:
      return "Q4_K_M";
    case 16:
      return "Q5_K_S";
    case 17:
      return "Q5_K_M";
    case 21:
      return "Q2_K_S";
    default:
      return {};
  }
}

/// The most common type of matrices by bytes, with the file's own label if that says more.
Result<std::string> quantization(const ModelFile& file) {
  std::map<TensorType, uint64_t> bytes;
  for (const FileTensor& t : file.tensors()) {
    if (t.dimensions > 1) bytes[t.type] += t.bytes;
  }
  if (bytes.empty()) return std::string("none");
  const auto most =
      std::max_element(bytes.begin(), bytes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  const std::string name(tensor_type_info(most->first)->name);
  const auto file_type = KVASIR_TRY(file.metadata().integer("general.file_type", 0, INT32_MAX));
  const std::string_view label = file_type ? mix_label(*file_type) : std::string_view();
  return label.empty() || label == name ? name : name + " (" + std::string(label) + ")";
}

/// A recommendation that no caller would be allowed to ask for is none: ignored, and said.
Result<std::optional<float>> sampling_number(const Metadata& m, const char* name, double low, double high) {
  const auto value = KVASIR_TRY(m.real(std::string("general.sampling.") + name));
  if (!value) return std::optional<float>();
  if (*value >= low && *value <= high) return std::optional<float>(static_cast<float>(*value));
  log::warn(std::string("model event=recommendation_ignored name=") + name + " value=" + std::to_string(*value));
  return std::optional<float>();
}

Result<RecommendedSampling> read_sampling(const Metadata& m) {
  RecommendedSampling s;
  s.temperature = KVASIR_TRY(sampling_number(m, "temp", 0.0, 100.0));
  s.top_p = KVASIR_TRY(sampling_number(m, "top_p", 0.0, 1.0));
  s.min_p = KVASIR_TRY(sampling_number(m, "min_p", 0.0, 1.0));
  s.repeat_penalty = KVASIR_TRY(sampling_number(m, "penalty_repeat", 0.01, 100.0));
  if (const auto k = KVASIR_TRY(m.integer("general.sampling.top_k", 0, INT32_MAX))) s.top_k = static_cast<uint32_t>(*k);
  return s;
}

void copy_sizes(ModelDescription& d, const ModelConfig& config) {
  d.layers = static_cast<uint32_t>(config.layers.size());
  d.embedding = config.width;
  d.max_context = config.max_context;
  d.vocab_size = config.vocab;
  for (const LayerConfig& layer : config.layers) {
    d.feed_forward = std::max(d.feed_forward, layer.feed_forward.width);
    if (layer.mixer == MixerKind::kAttention) {
      d.shared_caches = d.shared_caches || layer.attention.kv_source.has_value();
      d.heads = std::max(d.heads, layer.attention.heads);
      d.kv_heads = std::max(d.kv_heads, layer.attention.kv_heads);
      d.head_dim = std::max(d.head_dim, layer.attention.k_dim);
    } else if (layer.mixer == MixerKind::kMla) {
      d.heads = layer.mla.heads;
      d.kv_heads = 1;
      d.head_dim = layer.mla.no_rope_dims + layer.mla.rope_dims;
    }
  }
}

}  // namespace

Result<ModelDescription> describe(const ModelFile& file, const ModelConfig& config) {
  ModelDescription d;
  const Metadata& m = file.metadata();
  d.path = file.path();
  const auto name = KVASIR_TRY(m.string("general.name"));
  d.name = name && !name->empty() ? to_valid_utf8(name->substr(0, 256))
                                  : std::filesystem::path(file.path()).filename().string();
  d.architecture = config.architecture;
  d.quantization = KVASIR_TRY(quantization(file));
  d.format = file.format();
  d.file_bytes = file.file_bytes();
  copy_sizes(d, config);
  d.has_chat_template = KVASIR_TRY(file.chat_template()).has_value();
  d.sampling = KVASIR_TRY(read_sampling(m));
  d.fingerprint = header_fingerprint(file);
  for (const FileTensor& t : file.tensors()) {
    d.parameters += t.values();
    d.weight_bytes += t.bytes;
    d.tensors.push_back({t.name,
                         std::string(tensor_type_info(t.type)->name),
                         {t.dims.begin(), t.dims.begin() + t.dimensions},
                         t.bytes});
  }
  for (const std::string& key : m.keys()) d.metadata.emplace_back(key, m.describe(key));
  return d;
}

}  // namespace kvasir
