// Hostile Hugging Face folders: each file lies in its own way, and each lie must end in a clear error, soon and in
// little memory (reliability.md D, T and V). Every case begins with the same good folder, which must load.
#include <sys/resource.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>

#include "backends/registry.h"
#include "core/model/model.h"
#include "tests/model/hostile_folder_table.h"
#include "tests/model/temporary_folder.h"
#include "tests/support/data.h"

using namespace kvasir;
using namespace kvasir::test;
namespace fs = std::filesystem;

namespace {

Files good_folder(const fs::path& from) {
  Files files;
  for (const auto& entry : fs::directory_iterator(from)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".safetensors") || (name.ends_with(".json") && name != "crosscheck.json")) {
      files[name] = read_file(entry.path());
    }
  }
  return files;
}

void write(const fs::path& folder, const Files& files) {
  for (const auto& [name, bytes] : files) {
    std::ofstream(folder / name, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
}

/// Describes, reads the tokenizer, loads: the first error on the way.
Result<void> use(const fs::path& folder) {
  KVASIR_TRY(describe_model(folder.string()));
  KVASIR_TRY(load_model_text(folder.string()));
  const auto backend = make_reference_backend({});
  KVASIR_TRY(Model::load(folder.string(), *backend, {}));
  return {};
}

long peak_megabytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss / 1024;
}

void judge(const std::vector<Case>& cases) {
  const auto llama = KVASIR_NEEDS(shared_data("tiny-models/llama"));
  const Files good = good_folder(llama);
  for (const Case& one : cases) {
    const TemporaryFolder folder;
    Files files = good;
    one.harm(files);
    write(folder.path(), files);
    files.clear();
    const long before = peak_megabytes();
    const auto begin = std::chrono::steady_clock::now();
    const auto result = use(folder.path());
    const auto took = std::chrono::steady_clock::now() - begin;
    INFO(one.name << "\n  -> " << (result ? "loaded" : result.error().message.substr(0, 500)));
    CHECK(took < std::chrono::seconds(5));
    CHECK(peak_megabytes() - before < 600);  // sanitizers keep what was freed
    CHECK_FALSE(result.has_value());
    if (result) continue;
    CHECK(result.error().code != Code::kInternal);
    CHECK(result.error().message.find(one.says) != std::string::npos);
    CHECK(result.error().message.starts_with(folder.path().string()));
    CHECK(result.error().message.size() < 2000);
  }
}

}  // namespace

TEST_CASE("the folder that the hostile ones are made of is good", "[hostile]") {
  const auto llama = KVASIR_NEEDS(shared_data("tiny-models/llama"));
  const TemporaryFolder folder;
  write(folder.path(), good_folder(llama));
  const auto result = use(folder.path());
  INFO((result ? "" : result.error().message));
  CHECK(result);
}

TEST_CASE("safetensors files that lie are refused", "[hostile]") {
  judge(safetensors_cases());
}
TEST_CASE("an index.json that lies is refused, and nothing outside the folder is opened", "[hostile]") {
  judge(index_cases());
}
TEST_CASE("a config.json that lies is refused", "[hostile]") {
  judge(config_cases());
}
TEST_CASE("a tokenizer.json or tokenizer.model that lies is refused", "[hostile]") {
  judge(tokenizer_cases());
}

TEST_CASE("links are followed to files as in the caches of other programs, and to nothing else", "[hostile]") {
  const auto llama = KVASIR_NEEDS(shared_data("tiny-models/llama"));
  const TemporaryFolder cache, folder;
  Files files = good_folder(llama);
  const std::string weights = files[kShard];
  files.erase(kShard);
  write(folder.path(), files);
  write(cache.path(), {{"blob", weights}});
  fs::create_symlink(cache.path() / "blob", folder.path() / kShard);
  CHECK(use(folder.path()));
  for (const fs::path& target : {fs::path("/dev/zero"), cache.path(), folder.path() / kShard}) {
    fs::remove(folder.path() / kShard);
    fs::create_symlink(target, folder.path() / kShard);
    const auto result = use(folder.path());
    REQUIRE_FALSE(result);
    INFO(result.error().message);
    CHECK(result.error().message.find(kShard) != std::string::npos);
  }
}
