// A Hugging Face folder and the GGUF made from it are the same model: every tensor has the same name, shape and values.
#include "core/model/hf/hf_folder.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>

#include "backends/reference/dequantise.h"
#include "core/model/model_file.h"
#include "tests/support/data.h"

namespace kvasir {
namespace {

namespace fs = std::filesystem;

std::vector<float> values_of(const FileTensor& tensor) {
  std::vector<std::byte> bytes(tensor.bytes);
  REQUIRE(tensor.source->read(tensor.offset, bytes));
  std::vector<float> values(tensor.values());
  dequantise(tensor.type, bytes, values);
  return values;
}

fs::path gguf_in(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".gguf") return entry.path();
  }
  return {};
}

/// GGUF permutes the rows of Q and K of these for adjacent-pair rotation.
bool permuted(const std::string& family, const std::string& name) {
  for (const char* f : {"llama", "llama3", "mistral", "mixtral", "granite", "smollm3"}) {
    if (family == f) return name.find("attn_q.") != std::string::npos || name.find("attn_k.") != std::string::npos;
  }
  return false;
}

void compare(const std::string& family, const fs::path& folder) {
  const auto hf = ModelFile::open(folder.string());
  INFO((hf ? "" : hf.error().message));
  REQUIRE(hf);
  const auto gguf = ModelFile::open(gguf_in(folder).string());
  REQUIRE(gguf);
  for (const FileTensor& expected : (*gguf)->tensors()) {
    INFO(family << " " << expected.name);
    const FileTensor* made = (*hf)->find(expected.name);
    REQUIRE(made != nullptr);
    REQUIRE(made->dims == expected.dims);
    auto a = values_of(*made), b = values_of(expected);
    if (permuted(family, expected.name)) {
      std::sort(a.begin(), a.end());
      std::sort(b.begin(), b.end());
    }
    double worst = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      worst = std::max(
          worst, static_cast<double>(std::fabs(a[i] - b[i])) / std::max(1e-3, static_cast<double>(std::fabs(b[i]))));
    }
    CHECK(worst < 1e-5);
  }
  CHECK((*hf)->tensors().size() >= (*gguf)->tensors().size());
}

TEST_CASE("every family's folder gives the tensors of its GGUF") {
  const auto root = KVASIR_NEEDS(test::shared_data("tiny-models"));
  for (const auto& entry : fs::directory_iterator(root)) {
    if (!fs::exists(entry.path() / "config.json") || entry.path().filename() == "quant_mixed") continue;
    compare(entry.path().filename().string(), entry.path());
  }
}

}  // namespace
}  // namespace kvasir
