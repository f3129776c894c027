#include "core/model/gguf_file.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <set>
#include <unordered_map>

#include "core/model/gguf_reader.h"

namespace kvasir {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kEnding = ".gguf";
constexpr size_t kDigits = 5;

std::string part_file_name(const std::string& stem, uint32_t number, uint32_t count) {
  const auto padded = [](uint32_t value) {
    const std::string digits = std::to_string(value);
    return std::string(kDigits - std::min(kDigits, digits.size()), '0') + digits;
  };
  return stem + "-" + padded(number) + "-of-" + padded(count) + std::string(kEnding);
}

std::optional<uint32_t> five_digits(std::string_view text) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc() && end == text.data() + text.size() && text.size() == kDigits;
  return whole ? std::optional(value) : std::nullopt;
}

class GgufFile final : public ModelFile {
 public:
  GgufFile(GgufPart first, const ModelLimits& limits)
      : limits_(limits),
        version_(first.version),
        metadata_(std::move(first.metadata)),
        tensors_(std::move(first.tensors)) {
    files_.push_back(std::move(first.file));
  }

  void append(GgufPart part) {
    files_.push_back(std::move(part.file));
    std::move(part.tensors.begin(), part.tensors.end(), std::back_inserter(tensors_));
  }
  /// After the last append(). Error kCorrupt for a name that is there twice, with the file that repeats it.
  Result<void> index() {
    for (const FileTensor& tensor : tensors_) {
      if (by_name_.emplace(tensor.name, &tensor).second) continue;
      const std::string& where = static_cast<const FileSource*>(tensor.source)->path();
      return Failure(Code::kCorrupt, where + ": tensor " + printable(tensor.name) + " is there twice");
    }
    return {};
  }

  const std::string& path() const noexcept override { return files_.front()->path(); }
  std::string format() const override {
    const std::string name = "gguf v" + std::to_string(version_);
    return files_.size() == 1 ? name : name + " in " + std::to_string(files_.size()) + " files";
  }
  uint64_t file_bytes() const noexcept override {
    uint64_t bytes = 0;
    for (const auto& file : files_) bytes += file->size();
    return bytes;
  }
  const Metadata& metadata() const noexcept override { return metadata_; }
  const std::vector<FileTensor>& tensors() const noexcept override { return tensors_; }
  const FileTensor* find(std::string_view name) const override {
    const auto it = by_name_.find(name);
    return it == by_name_.end() ? nullptr : it->second;
  }
  bool permutes_query_key() const noexcept override { return true; }
  Result<VocabularyData> vocabulary() const override { return read_vocabulary(metadata_, limits_); }
  Result<std::optional<std::string>> chat_template() const override {
    const auto text = KVASIR_TRY(metadata_.string("tokenizer.chat_template"));
    return text ? std::optional<std::string>(std::string(*text)) : std::nullopt;
  }
  Result<void> check_unchanged() const override {
    for (const auto& file : files_) KVASIR_TRY(file->check_unchanged());
    return {};
  }

 private:
  std::vector<std::unique_ptr<FileSource>> files_;
  ModelLimits limits_;
  uint32_t version_;
  Metadata metadata_;
  std::vector<FileTensor> tensors_;
  std::unordered_map<std::string_view, const FileTensor*> by_name_;
};

Failure in_part(const GgufPart& part, const std::string& what) {
  return Failure(Code::kCorrupt, part.file->path() + ": " + what);
}

/// The split.* keys of a part; a whole file counts as the one part of its model.
struct SplitKeys {
  uint32_t number = 1, count = 1;
  std::optional<int64_t> tensors;  ///< in all parts together
};

Result<SplitKeys> read_keys(const GgufPart& part) {
  const auto read = [&]() -> Result<SplitKeys> {
    SplitKeys keys;
    // Beyond what five digits can name there is no such set.
    keys.count = static_cast<uint32_t>(KVASIR_TRY(part.metadata.integer("split.count", 0, 99'999)).value_or(1));
    keys.count = std::max(keys.count, 1U);
    keys.number =
        static_cast<uint32_t>(KVASIR_TRY(part.metadata.integer("split.no", 0, keys.count - 1)).value_or(0)) + 1;
    keys.tensors = KVASIR_TRY(part.metadata.integer("split.tensors.count", 0, INT32_MAX));
    return keys;
  };
  auto keys = read();
  if (!keys) return in_part(part, keys.error().message);
  return keys;
}

/// Keys and name of one part must say the same.
Result<void> check_part(const GgufPart& part, const SplitKeys& keys, uint32_t number, uint32_t count) {
  if (keys.number == number && keys.count == count) return {};
  return in_part(part, "its split.no and split.count say part " + std::to_string(keys.number) + " of " +
                           std::to_string(keys.count) + ", its name part " + std::to_string(number) + " of " +
                           std::to_string(count));
}

/// Parts beyond the count would be silently left out of the model.
Result<void> check_no_surplus(const fs::path& folder, const GgufPartName& name) {
  std::error_code ec;
  for (fs::directory_iterator it(folder.empty() ? "." : folder, ec), end; !ec && it != end; it.increment(ec)) {
    const auto other = parse_gguf_part_name(it->path().filename().string());
    if (!other || other->stem != name.stem || other->count != name.count) continue;
    if (other->number >= 1 && other->number <= name.count) continue;
    return Failure(Code::kCorrupt,
                   it->path().string() + ": a surplus part, the model has " + std::to_string(name.count));
  }
  return {};
}

/// Other metadata than the first part's makes it a part of another model. Writers repeat nothing but split.*.
Result<void> check_same_model(const Metadata& first, const GgufPart& part) {
  for (const char* key : {"general.architecture", "general.name", "general.uuid"}) {
    const auto mine = KVASIR_TRY(part.metadata.string(key));
    const auto theirs = KVASIR_TRY(first.string(key));
    if (mine && mine != theirs) return in_part(part, std::string("its ") + key + " is not that of the first part");
  }
  return {};
}

enum class Name : uint8_t { kPart, kAny };

Result<GgufPart> open_part(const fs::path& path, Name name, const ModelLimits& limits) {
  auto file = FileSource::open(path.string());
  if (!file && file.error().code == Code::kNotFound && name == Name::kPart) {
    return Failure(Code::kNotFound, path.string() + ": this part of the model is missing");
  }
  return read_gguf(KVASIR_TRY(std::move(file)), limits);
}

Result<std::unique_ptr<ModelFile>> finish(std::unique_ptr<GgufFile> model) {
  KVASIR_TRY(model->index());
  return std::unique_ptr<ModelFile>(std::move(model));
}

Result<std::unique_ptr<ModelFile>> open_parts(const fs::path& folder, const GgufPartName& name,
                                              const ModelLimits& limits) {
  if (name.count > limits.max_parts) {
    return Failure(Code::kTooLarge, "a model of " + std::to_string(name.count) + " parts; at most " +
                                        std::to_string(limits.max_parts) + " are allowed");
  }
  KVASIR_TRY(check_no_surplus(folder, name));
  std::unique_ptr<GgufFile> model;
  std::optional<int64_t> promised;
  for (uint32_t number = 1; number <= name.count; ++number) {
    GgufPart part = KVASIR_TRY(open_part(folder / part_file_name(name.stem, number, name.count), Name::kPart, limits));
    const SplitKeys keys = KVASIR_TRY(read_keys(part));
    KVASIR_TRY(check_part(part, keys, number, name.count));
    if (model == nullptr) {
      promised = keys.tensors;
      model = std::make_unique<GgufFile>(std::move(part), limits);
      continue;
    }
    if (keys.tensors != promised) return in_part(part, "its split.tensors.count is not that of the first part");
    KVASIR_TRY(check_same_model(model->metadata(), part));
    if (part.tensors.size() > limits.max_tensors - std::min<uint64_t>(model->tensors().size(), limits.max_tensors)) {
      return Failure(Code::kTooLarge, "more than " + std::to_string(limits.max_tensors) + " tensors in all parts");
    }
    model->append(std::move(part));
  }
  const auto found = static_cast<int64_t>(model->tensors().size());
  if (promised && *promised != found) {
    return Failure(Code::kCorrupt, model->path() + ": the parts hold " + std::to_string(found) +
                                       " tensors where split.tensors.count says " + std::to_string(*promised));
  }
  return finish(std::move(model));
}

}  // namespace

std::optional<GgufPartName> parse_gguf_part_name(std::string_view file_name) {
  constexpr size_t kTail = 1 + kDigits + 4 + kDigits;  // -00001-of-00003
  if (!file_name.ends_with(kEnding)) return std::nullopt;
  file_name.remove_suffix(kEnding.size());
  if (file_name.size() <= kTail) return std::nullopt;
  const std::string_view tail = file_name.substr(file_name.size() - kTail);
  const auto number = five_digits(tail.substr(1, kDigits)), count = five_digits(tail.substr(kTail - kDigits));
  if (tail[0] != '-' || tail.substr(1 + kDigits, 4) != "-of-" || !number || !count) return std::nullopt;
  return GgufPartName{std::string(file_name.substr(0, file_name.size() - kTail)), *number, *count};
}

Result<std::unique_ptr<ModelFile>> open_gguf(const std::string& path, const ModelLimits& limits) {
  const fs::path file(path);
  const auto name = parse_gguf_part_name(file.filename().string());
  GgufPart part = KVASIR_TRY(open_part(file, name ? Name::kPart : Name::kAny, limits));
  const SplitKeys keys = KVASIR_TRY(read_keys(part));
  if (keys.count == 1) return finish(std::make_unique<GgufFile>(std::move(part), limits));
  if (!name) {
    return in_part(part, "part " + std::to_string(keys.number) + " of " + std::to_string(keys.count) +
                             " of a model, but its name does not end in " +
                             part_file_name("", keys.number, keys.count) + ", so the others cannot be found");
  }
  KVASIR_TRY(check_part(part, keys, name->number, name->count));
  return open_parts(file.parent_path(), *name, limits);
}

Result<std::string> gguf_in_folder(const std::string& folder) {
  std::error_code ec;
  std::set<std::string> models;
  for (fs::directory_iterator it(folder, ec), end; !ec && it != end; it.increment(ec)) {
    const std::string name = it->path().filename().string();
    if (name.starts_with('.') || !name.ends_with(kEnding)) continue;
    const auto part = parse_gguf_part_name(name);
    models.insert(part ? part_file_name(part->stem, 1, part->count) : name);
  }
  if (ec) return Failure(Code::kIo, "cannot read the folder " + folder + ": " + ec.message());
  if (models.empty()) {
    return Failure(Code::kIo, folder + " is a directory with neither a config.json nor a .gguf file, not a model");
  }
  if (models.size() == 1) return (fs::path(folder) / *models.begin()).string();
  std::string names;
  for (const std::string& name : models) names += (names.empty() ? "" : ", ") + printable(name);
  return Failure(Code::kInvalidArgument, folder + " is a directory with several models, name one of them: " + names);
}

}  // namespace kvasir
