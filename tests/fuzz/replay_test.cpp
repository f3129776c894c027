// Every file of the corpus, cut short at many places and with single bytes changed, through its target: what the
// fuzzers once found stays found, also without libFuzzer.
#include <catch2/catch.hpp>
#include <filesystem>
#include <random>

#include "tests/fuzz/targets.h"
#include "tests/support/data.h"

using namespace kvasir;
namespace fs = std::filesystem;

namespace {

constexpr size_t kMutations = 300;

void replay(const char* name, void (*target)(std::string_view)) {
  const fs::path folder = fs::path(KVASIR_FUZZ_CORPUS) / name;
  size_t files = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    ++files;
    const std::string seed = test::read_file(entry.path());
    target(seed);
    std::mt19937_64 random(seed.size());
    for (size_t i = 0; i < kMutations && !seed.empty(); ++i) {
      std::string bytes = seed;
      if (i % 3 == 0) bytes.resize(random() % seed.size());
      for (size_t changes = random() % 4; changes > 0 && !bytes.empty(); --changes) {
        bytes[random() % bytes.size()] = static_cast<char>(random());
      }
      if (i % 7 == 0) bytes += bytes.substr(bytes.size() / 2);
      target(bytes);
    }
  }
  target("");
  INFO(folder);
  CHECK(files > 0);
}

struct Target {
  const char* folder;
  void (*run)(std::string_view);
};
constexpr Target kTargets[] = {
    {"gguf_fuzz", fuzz::gguf},
    {"http_fuzz", fuzz::http},
    {"jinja_fuzz", fuzz::jinja},
    {"json_fuzz", fuzz::json},
    {"model_folder_fuzz", fuzz::model_folder},
    {"safetensors_fuzz", fuzz::safetensors},
    {"sentencepiece_fuzz", fuzz::sentencepiece},
    {"template_trust_fuzz", fuzz::template_trust},
    {"tokenizer_fuzz", fuzz::tokenizer},
    {"tokenizer_json_fuzz", fuzz::tokenizer_json},
    {"websocket_fuzz", fuzz::websocket},
};

}  // namespace

TEST_CASE("every file of the fuzz corpus, and changes to it") {
  for (const auto& [folder, run] : kTargets) {
    DYNAMIC_SECTION(folder) {
      replay(folder, run);
    }
  }
}

TEST_CASE("every folder of the fuzz corpus has its target") {
  const auto folders = fs::directory_iterator(KVASIR_FUZZ_CORPUS);
  CHECK(std::distance(begin(folders), end(folders)) == std::ssize(kTargets));
}
