// The files of a Hugging Face folder, each read as the loader does.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "core/model/hf/safetensors_reader.h"
#include "core/model/model.h"
#include "tests/fuzz/targets.h"

namespace kvasir::fuzz {
namespace {

namespace fs = std::filesystem;

void require(bool condition) {
  if (!condition) std::abort();
}

/// What was accepted encodes and decodes without surprise.
void use_vocabulary(VocabularyData data) {
  auto made = Tokenizer::create(std::move(data), {.max_tokens = 5000, .max_text_bytes = 1U << 20});
  if (!made) return require(!made.error().message.empty());
  for (const char* text :
       {"Hello <s> \xc3\xa9 123\n", "  a  b\t\xe4\xbd\xa0\xff", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}) {
    const auto encoded = (*made)->encode(text, {.add_special = true, .parse_special = true});
    if (!encoded) continue;
    for (const TokenId id : encoded->ids) require((*made)->valid(id));
    require((*made)->decode(encoded->ids, true).has_value());
  }
}

/// A folder of this process that goes away with it.
class Folder {
 public:
  Folder() {
    // In memory where that can be: rewriting a file on a disk takes 50 ms, reading it a few microseconds.
    const fs::path parent = fs::exists("/dev/shm") ? fs::path("/dev/shm") : fs::temp_directory_path();
    std::string pattern = (parent / "kvasir-fuzz-XXXXXX").string();
    require(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
    put("tokenizer.json",
        R"({"added_tokens": [], "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}})");
  }
  ~Folder() {
    std::error_code ec;
    fs::remove_all(path_, ec);
  }
  void put(const char* name, std::string_view bytes) const {
    std::ofstream(path_ / name, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  void put_or_remove(const char* name, std::string_view bytes) const {
    std::error_code ec;
    if (bytes.empty()) fs::remove(path_ / name, ec);
    if (!bytes.empty()) put(name, bytes);
  }
  std::string path() const { return path_.string(); }

 private:
  fs::path path_;
};

/// Up to the next NUL, which goes too.
std::string_view take_part(std::string_view& bytes) {
  const std::string_view part = bytes.substr(0, bytes.find('\0'));
  bytes.remove_prefix(std::min(bytes.size(), part.size() + 1));
  return part;
}

}  // namespace

void tokenizer_json(std::string_view bytes) {
  VocabularyData data;
  const size_t nul = bytes.find('\0');  // a tokenizer_config.json may follow
  data.tokenizer_json = bytes.substr(0, nul);
  if (nul != std::string_view::npos) data.tokenizer_config_json = bytes.substr(nul + 1);
  use_vocabulary(std::move(data));
}

void sentencepiece(std::string_view bytes) {
  if (bytes.empty()) return;
  VocabularyData data;
  data.sentencepiece_model = bytes;
  use_vocabulary(std::move(data));
}

void safetensors(std::string_view bytes) {
  const int fd = memfd_create("fuzz", MFD_CLOEXEC);
  require(fd >= 0 && ::write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  const auto file = FileSource::open("/proc/self/fd/" + std::to_string(fd));
  ::close(fd);
  require(file.has_value());
  const auto tensors = read_safetensors(**file, {});
  if (!tensors) return require(!tensors.error().message.empty());
  for (const SafeTensor& tensor : *tensors) {
    require(tensor.offset <= bytes.size() && tensor.bytes <= bytes.size() - tensor.offset);
  }
}

void model_folder(std::string_view bytes) {
  static const Folder folder;
  folder.put("config.json", take_part(bytes));
  const std::string_view index = take_part(bytes), header = take_part(bytes);
  folder.put_or_remove("model.safetensors.index.json", index);
  const auto length = static_cast<uint64_t>(header.size());
  std::string weights(sizeof length, '\0');
  std::memcpy(weights.data(), &length, sizeof length);
  weights.append(header).append(bytes);
  folder.put_or_remove("model.safetensors", index.empty() ? std::string_view(weights) : std::string_view());
  folder.put_or_remove("model-00001-of-00001.safetensors",
                       index.empty() ? std::string_view() : std::string_view(weights));
  const auto described = describe_model(folder.path());
  if (!described) require(!described.error().message.empty());
}

}  // namespace kvasir::fuzz
