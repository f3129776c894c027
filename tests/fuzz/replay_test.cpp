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

}  // namespace

TEST_CASE("fuzz corpus: JSON messages") {
  replay("json_fuzz", fuzz::json);
}
TEST_CASE("fuzz corpus: HTTP requests") {
  replay("http_fuzz", fuzz::http);
}
TEST_CASE("fuzz corpus: WebSocket frames") {
  replay("websocket_fuzz", fuzz::websocket);
}
TEST_CASE("fuzz corpus: GGUF files") {
  replay("gguf_fuzz", fuzz::gguf);
}
TEST_CASE("fuzz corpus: chat templates") {
  replay("jinja_fuzz", fuzz::jinja);
}
TEST_CASE("fuzz corpus: what templates may call trusted") {
  replay("template_trust_fuzz", fuzz::template_trust);
}
TEST_CASE("fuzz corpus: texts and vocabularies") {
  replay("tokenizer_fuzz", fuzz::tokenizer);
}
TEST_CASE("fuzz corpus: tokenizer.json") {
  replay("tokenizer_json_fuzz", fuzz::tokenizer_json);
}
TEST_CASE("fuzz corpus: tokenizer.model") {
  replay("sentencepiece_fuzz", fuzz::sentencepiece);
}
TEST_CASE("fuzz corpus: safetensors files") {
  replay("safetensors_fuzz", fuzz::safetensors);
}
TEST_CASE("fuzz corpus: config.json and index.json of a folder") {
  replay("model_folder_fuzz", fuzz::model_folder);
}
