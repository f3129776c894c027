#include "core/model/hf/hf_folder.h"

#include <algorithm>
#include <bit>
#include <filesystem>
#include <map>
#include <set>

#include "core/model/file_source.h"
#include "core/model/hf/folder_config.h"
#include "core/model/hf/json_value.h"
#include "core/model/hf/safetensors_reader.h"
#include "core/model/hf/tensor_map.h"

namespace kvasir {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxTokenizerBytes = 64u << 20;
constexpr size_t kMaxSmallJsonBytes = 16u << 20;
constexpr size_t kMaxShards = 4096;

Result<std::string> read_text(const fs::path& path, size_t max_bytes) {
  const auto file = KVASIR_TRY(FileSource::open(path.string()));
  if (file->size() > max_bytes) {
    return Failure(Code::kTooLarge,
                   path.filename().string() + " is larger than " + std::to_string(max_bytes) + " bytes");
  }
  std::string text(file->size(), '\0');
  KVASIR_TRY(file->read(0, std::as_writable_bytes(std::span(text))));
  return text;
}

bool present(const fs::path& path) {
  std::error_code ec;
  return fs::exists(path, ec);
}

/// The text of a file that may be absent.
Result<std::optional<std::string>> read_optional(const fs::path& path, size_t max_bytes) {
  if (!present(path)) return std::optional<std::string>();
  return std::optional<std::string>(KVASIR_TRY(read_text(path, max_bytes)));
}

Failure in(const char* file, const Error& error) {
  return Failure(error.code, std::string(file) + ": " + error.message);
}

Result<JsonValue> parse_in(const char* file, const std::string& text, uint64_t max_values = 1'000'000) {
  JsonLimits limits;
  limits.max_bytes = kMaxTokenizerBytes;
  limits.max_values = max_values;
  auto value = JsonValue::parse(text, limits);
  if (!value) return in(file, value.error());
  return value;
}

/// Names of the safetensors files, each checked to be a plain name inside the folder.
Result<std::vector<std::string>> shard_names(const fs::path& folder) {
  if (present(folder / "model.safetensors")) return std::vector<std::string>{"model.safetensors"};
  const auto text = KVASIR_TRY(read_optional(folder / "model.safetensors.index.json", kMaxSmallJsonBytes));
  if (!text)
    return Failure(Code::kNotFound,
                   folder.string() + " holds neither model.safetensors nor model.safetensors.index.json");
  const JsonValue index = KVASIR_TRY(parse_in("model.safetensors.index.json", *text));
  const JsonValue* map = index.find("weight_map");
  if (map == nullptr || map->object() == nullptr)
    return Failure(Code::kCorrupt, "model.safetensors.index.json: weight_map is missing");
  std::set<std::string> names;
  for (const auto& [tensor, file] : *map->object()) {
    const std::string* name = file.string();
    if (name == nullptr || name->empty() || name->find('/') != std::string::npos ||
        name->find('\\') != std::string::npos || *name == ".." || !name->ends_with(".safetensors")) {
      return Failure(Code::kCorrupt, "model.safetensors.index.json: " + printable(name == nullptr ? tensor : *name) +
                                         " is not the plain name of a safetensors file");
    }
    names.insert(*name);
    if (names.size() > kMaxShards) return Failure(Code::kTooLarge, "model.safetensors.index.json names too many files");
  }
  if (names.empty()) return Failure(Code::kCorrupt, "model.safetensors.index.json names no file");
  for (const auto& name : names) {
    if (!present(folder / name))
      return Failure(Code::kNotFound, "the shard " + name + " is missing from " + folder.string());
  }
  return std::vector<std::string>(names.begin(), names.end());
}

void put_real(Metadata& m, const char* key, const JsonValue* value) {
  if (value == nullptr) return;
  if (const auto n = value->number()) m.insert(key, MetaScalar{MetaType::kF64, std::bit_cast<uint64_t>(*n)});
}

class HfFolder final : public ModelFile {
 public:
  HfFolder(std::string path, std::vector<std::unique_ptr<FileSource>> files, Metadata metadata, TensorBuilder builder,
           VocabularyData vocabulary, std::optional<std::string> chat_template)
      : path_(std::move(path)),
        files_(std::move(files)),
        metadata_(std::move(metadata)),
        builder_(std::move(builder)),
        vocabulary_(std::move(vocabulary)),
        template_(std::move(chat_template)) {
    for (const auto& tensor : builder_.tensors) by_name_.emplace(tensor.name, &tensor);
  }
  const std::string& path() const noexcept override { return path_; }
  std::string format() const override { return "safetensors"; }
  uint64_t file_bytes() const noexcept override {
    uint64_t bytes = 0;
    for (const auto& file : files_) bytes += file->size();
    return bytes;
  }
  const Metadata& metadata() const noexcept override { return metadata_; }
  const std::vector<FileTensor>& tensors() const noexcept override { return builder_.tensors; }
  const FileTensor* find(std::string_view name) const override {
    const auto found = by_name_.find(name);
    return found == by_name_.end() ? nullptr : found->second;
  }
  bool permutes_query_key() const noexcept override { return false; }
  Result<VocabularyData> vocabulary() const override { return vocabulary_; }
  Result<std::optional<std::string>> chat_template() const override { return template_; }
  Result<void> check_unchanged() const override {
    for (const auto& file : files_) KVASIR_TRY(file->check_unchanged());
    return {};
  }

 private:
  std::string path_;
  std::vector<std::unique_ptr<FileSource>> files_;
  Metadata metadata_;
  TensorBuilder builder_;
  VocabularyData vocabulary_;
  std::optional<std::string> template_;
  std::map<std::string_view, const FileTensor*> by_name_;
};

/// tokenizer.json and what tokenizer_config.json and the configs add to it.
Result<VocabularyData> folder_vocabulary(const fs::path& folder) {
  VocabularyData v;
  if (auto json = KVASIR_TRY(read_optional(folder / "tokenizer.json", kMaxTokenizerBytes))) {
    v.tokenizer_json = std::move(*json);
  } else if (auto model = KVASIR_TRY(read_optional(folder / "tokenizer.model", kMaxTokenizerBytes))) {
    v.sentencepiece_model = std::move(*model);
  } else {
    return Failure(Code::kNotFound, folder.string() + " holds neither tokenizer.json nor tokenizer.model");
  }
  if (v.tokenizer_json.empty() && v.sentencepiece_model.empty())
    return Failure(Code::kCorrupt, "tokenizer.json or tokenizer.model is an empty file");
  if (auto config = KVASIR_TRY(read_optional(folder / "tokenizer_config.json", kMaxSmallJsonBytes)))
    v.tokenizer_config_json = std::move(*config);
  return v;
}

/// End tokens: generation_config.json's eos_token_id (a number or a list), else config.json's.
void read_end_tokens(const JsonValue& config, VocabularyData& v) {
  const JsonValue* eos = config.find("eos_token_id");
  if (eos == nullptr) return;
  std::vector<int64_t> ids;
  if (const auto one = eos->integer(0, INT32_MAX)) ids.push_back(*one);
  if (eos->array() != nullptr) {
    for (const auto& item : *eos->array()) {
      if (const auto id = item.integer(0, INT32_MAX)) ids.push_back(*id);
    }
  }
  if (!ids.empty()) v.end_ids = std::move(ids);
}

Result<std::optional<std::string>> folder_template(const fs::path& folder, const VocabularyData& v) {
  if (auto text = KVASIR_TRY(read_optional(folder / "chat_template.jinja", 1u << 20))) return text;
  if (v.tokenizer_config_json.empty()) return std::optional<std::string>();
  const JsonValue config = KVASIR_TRY(parse_in("tokenizer_config.json", v.tokenizer_config_json));
  const JsonValue* value = config.find("chat_template");
  if (value == nullptr) return std::optional<std::string>();
  if (value->string() != nullptr) return std::optional<std::string>(*value->string());
  // A list of named templates: the one called "default".
  if (value->array() != nullptr) {
    for (const auto& entry : *value->array()) {
      const JsonValue* name = entry.find("name");
      const JsonValue* text = entry.find("template");
      if (name != nullptr && name->string() != nullptr && *name->string() == "default" && text != nullptr &&
          text->string() != nullptr) {
        return std::optional<std::string>(*text->string());
      }
    }
  }
  return std::optional<std::string>();
}

Result<void> read_generation_config(const fs::path& folder, Metadata& metadata, VocabularyData& v) {
  const auto text = KVASIR_TRY(read_optional(folder / "generation_config.json", kMaxSmallJsonBytes));
  if (!text) return {};
  const JsonValue config = KVASIR_TRY(parse_in("generation_config.json", *text));
  read_end_tokens(config, v);
  put_real(metadata, "general.sampling.temp", config.find("temperature"));
  put_real(metadata, "general.sampling.top_p", config.find("top_p"));
  put_real(metadata, "general.sampling.min_p", config.find("min_p"));
  put_real(metadata, "general.sampling.penalty_repeat", config.find("repetition_penalty"));
  if (const JsonValue* top_k = config.find("top_k")) {
    if (const auto k = top_k->integer(0, INT32_MAX)) {
      metadata.insert("general.sampling.top_k", MetaScalar{MetaType::kU32, static_cast<uint64_t>(*k)});
    }
  }
  return {};
}

Result<std::unique_ptr<ModelFile>> open_checked(const fs::path& folder, const ModelLimits& limits) {
  const std::string text = KVASIR_TRY(read_text(folder / "config.json", kMaxSmallJsonBytes));
  const JsonValue config = KVASIR_TRY(parse_in("config.json", text, 100'000));
  FolderConfig read = KVASIR_TRY(read_folder_config(config, limits));
  std::vector<std::unique_ptr<FileSource>> files;
  std::vector<SafeTensor> tensors;
  std::set<std::string> names;
  for (const auto& name : KVASIR_TRY(shard_names(folder))) {
    files.push_back(KVASIR_TRY(FileSource::open((folder / name).string())));
    auto part = read_safetensors(*files.back(), limits);
    if (!part) return in(name.c_str(), part.error());
    for (auto& tensor : *part) {
      if (!names.insert(tensor.name).second)
        return Failure(Code::kCorrupt, name + ": tensor " + printable(tensor.name) + " is in another shard too");
      tensors.push_back(std::move(tensor));
    }
  }
  TensorBuilder builder(tensors);
  KVASIR_TRY(map_tensors(builder, read.shape));
  if (!read.rope_freqs.empty()) KVASIR_TRY(builder.add_values("rope_freqs.weight", std::move(read.rope_freqs)));
  if (!read.rope_factors_long.empty()) {
    KVASIR_TRY(builder.add_values("rope_factors_long.weight", std::move(read.rope_factors_long)));
    KVASIR_TRY(builder.add_values("rope_factors_short.weight", std::move(read.rope_factors_short)));
  }
  VocabularyData vocabulary = KVASIR_TRY(folder_vocabulary(folder));
  read_end_tokens(config, vocabulary);
  KVASIR_TRY(read_generation_config(folder, read.metadata, vocabulary));
  auto chat_template = KVASIR_TRY(folder_template(folder, vocabulary));
  return std::unique_ptr<ModelFile>(std::make_unique<HfFolder>(folder.string(), std::move(files),
                                                               std::move(read.metadata), std::move(builder),
                                                               std::move(vocabulary), std::move(chat_template)));
}

}  // namespace

bool is_hf_folder(const std::string& path) {
  std::error_code ec;
  return fs::is_directory(path, ec) && present(fs::path(path) / "config.json");
}

Result<std::unique_ptr<ModelFile>> open_hf_folder(const std::string& path, const ModelLimits& limits) {
  auto file = open_checked(path, limits);
  if (!file) return Failure(file.error().code, path + ": " + file.error().message);
  return file;
}

}  // namespace kvasir
