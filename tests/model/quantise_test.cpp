// --quantize: blocks are those of ggml's reference quantisers, and a model quantised while loading says so and computes
// what a quantised file would.
#include "core/model/quantise.h"

#include <array>
#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>

#include "backends/reference/dequantise.h"
#include "backends/registry.h"
#include "tests/model/gguf_writer.h"
#include "tests/model/runner.h"
#include "tests/model/temporary_folder.h"
#include "tests/support/data.h"

using namespace kvasir;
using namespace kvasir::test;
namespace fs = std::filesystem;

namespace {

/// 16 rows of 256 values of 16 bits, whose magnitudes differ by blocks from 2^-16 to 2^3.
std::vector<float> sample() {
  std::vector<float> values;
  uint32_t state = 12345;
  for (int i = 0; i < 16 * 256; ++i) {
    state = state * 1664525U + 1013904223U;
    const auto number = static_cast<int32_t>((state >> 8) & 0xffffU) - 32768;
    values.push_back(std::ldexp(static_cast<float>(number), (i / 32) % 20 - 16));
  }
  return values;
}

std::vector<std::byte> quantised(TensorType type, std::span<const float> values) {
  std::vector<std::byte> blocks(values.size() / 32 * tensor_type_info(type)->block_bytes);
  REQUIRE(quantise_blocks(type, values, blocks));
  return blocks;
}

uint64_t fnv1a(std::span<const std::byte> bytes) {
  uint64_t hash = 0xcbf29ce484222325U;
  for (const std::byte b : bytes) hash = (hash ^ std::to_integer<uint64_t>(b)) * 0x100000001b3U;
  return hash;
}

std::string to_bytes(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::vector<float> values_of(const FileTensor& tensor) {
  std::vector<std::byte> raw(tensor.bytes);
  REQUIRE(tensor.source->read(tensor.offset, raw));
  std::vector<float> values(tensor.values());
  dequantise(tensor.type, raw, values);
  return values;
}

const ModelDescription::Tensor& tensor_of(const ModelDescription& d, std::string_view name) {
  const auto it = std::find_if(d.tensors.begin(), d.tensors.end(), [&](const auto& t) { return t.name == name; });
  REQUIRE(it != d.tensors.end());
  return *it;
}

double largest_difference(std::span<const float> a, std::span<const float> b) {
  REQUIRE(a.size() == b.size());
  double worst = 0.0;
  for (size_t i = 0; i < a.size(); ++i)
    worst = std::max(worst, std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  return worst;
}

double rms_difference(std::span<const float> a, std::span<const float> b) {
  REQUIRE(a.size() == b.size());
  double sum = 0.0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2.0);
  return std::sqrt(sum / static_cast<double>(a.size()));
}

const std::vector<TokenId> kTokens = {1, 17, 200, 33, 5, 319, 64, 90, 111, 7};

std::vector<float> logits_of(const fs::path& path, QuantizeOnLoad how) {
  Runner runner(path, {.quantize = how});
  return runner.run(kTokens);
}

}  // namespace

TEST_CASE("blocks equal those of the reference quantiser, byte for byte", "[quantise]") {
  const auto values = sample();
  // Digests of what the Python package gguf 0.17 makes of the same values (which ggml's C code equals).
  CHECK(fnv1a(quantised(TensorType::kQ8_0, values)) == 0xb19978a0a6298974U);
  CHECK(fnv1a(quantised(TensorType::kQ4_0, values)) == 0xdc814605f855a2c9U);
}

TEST_CASE("Q8_0 rounds halves away from zero", "[quantise]") {
  std::vector<float> values(32, 0.0F);
  values[0] = 127.0F;  // scale 1
  const float halves[] = {0.5F, 1.5F, -0.5F, -2.5F, 0.49999997F, 125.5F};
  std::copy(std::begin(halves), std::end(halves), values.begin() + 1);
  const auto block = quantised(TensorType::kQ8_0, values);
  const int8_t expected[] = {127, 1, 2, -1, -3, 0, 126};
  for (size_t i = 0; i < std::size(expected); ++i) {
    CHECK(static_cast<int>(std::to_integer<int8_t>(block[2 + i])) == static_cast<int>(expected[i]));
  }
}

TEST_CASE("zeros and values too small for a scale become zero, infinite ones are refused", "[quantise]") {
  for (const TensorType type : {TensorType::kQ8_0, TensorType::kQ4_0}) {
    for (const float tiny : {0.0F, 1e-40F, 1e-45F}) {
      const auto block = quantised(type, std::vector<float>(32, tiny));
      std::vector<float> back(32, 1.0F);
      dequantise(type, block, back);
      for (const float v : back) CHECK(v == 0.0F);
    }
    for (const float bad : {INFINITY, -INFINITY, NAN, 1e30F}) {
      std::vector<float> values(32, 1.0F);
      values[7] = bad;
      std::vector<std::byte> block(tensor_type_info(type)->block_bytes);
      CHECK_FALSE(quantise_blocks(type, values, block));
    }
  }
}

TEST_CASE("values that a block can hold exactly come back as that block", "[quantise]") {
  for (const auto& [type, name] : {std::pair(TensorType::kQ8_0, "Q8_0"), std::pair(TensorType::kQ4_0, "Q4_0")}) {
    const auto file = KVASIR_NEEDS(shared_data("quant-blocks/" + std::string(name) + ".blocks"));
    const std::string blocks = read_file(file);
    const size_t size = tensor_type_info(type)->block_bytes;
    size_t judged = 0;
    for (size_t at = 0; at + size <= blocks.size(); at += size) {
      const auto block = std::as_bytes(std::span(blocks)).subspan(at, size);
      std::vector<float> values(32);
      dequantise(type, block, values);
      uint16_t half = 0;
      std::memcpy(&half, block.data(), sizeof half);
      const float scale = half_to_float(half);
      const float reach = type == TensorType::kQ8_0 ? 127.0F * scale : -8.0F * scale;
      const auto same = [&](float v) { return v == reach || (type == TensorType::kQ8_0 && v == -reach); };
      const auto beyond = [&](float v) { return std::fabs(v) > std::fabs(reach); };
      if (scale <= 0.0F || std::none_of(values.begin(), values.end(), same) ||
          std::any_of(values.begin(), values.end(), beyond)) {
        continue;  // scaled otherwise by any quantiser
      }
      ++judged;
      CHECK(to_bytes(quantised(type, values)) == to_bytes(block));
    }
    CHECK(judged > 0);
  }
}

TEST_CASE("a model quantised while loading says so, keeps what it must, and computes nearly the same", "[quantise]") {
  const auto file = KVASIR_NEEDS(shared_data("tiny-models/llama/model-bf16.gguf"));
  const auto plain = describe_model(file.string());
  const auto eight = describe_model(file.string(), {.quantize = QuantizeOnLoad::kQ8_0});
  const auto four = describe_model(file.string(), {.quantize = QuantizeOnLoad::kQ4_0});
  REQUIRE(plain);
  REQUIRE(eight);
  REQUIRE(four);
  CHECK(plain->quantized_on_load.empty());
  CHECK(eight->quantization == "Q8_0");
  CHECK(eight->quantized_on_load == "16 float matrices quantized to Q8_0 while loading");
  CHECK(four->quantization == "Q4_0");
  CHECK(eight->weight_bytes < plain->weight_bytes * 6 / 10);
  CHECK(four->weight_bytes < eight->weight_bytes);
  CHECK(tensor_of(*four, "blk.0.attn_q.weight").type == "Q4_0");
  CHECK(tensor_of(*four, "token_embd.weight").type == "Q4_0");
  CHECK(tensor_of(*four, "output.weight").type == "Q8_0");
  CHECK(tensor_of(*four, "blk.0.attn_norm.weight").type == "F32");
  CHECK(plain->fingerprint != eight->fingerprint);
  CHECK(four->fingerprint != eight->fingerprint);

  const auto exact = logits_of(file, QuantizeOnLoad::kNone);
  const auto in_eight = logits_of(file, QuantizeOnLoad::kQ8_0), in_four = logits_of(file, QuantizeOnLoad::kQ4_0);
  CHECK(in_eight != exact);
  CHECK(rms_difference(in_eight, exact) < 0.1);  // logits have a standard deviation of 2.2
  CHECK(rms_difference(in_four, exact) < 1.5);
  // The folder holds Q and K in another order of rows: the same blocks, other sums.
  CHECK(largest_difference(logits_of(file.parent_path(), QuantizeOnLoad::kQ8_0), in_eight) < 1e-3);
}

TEST_CASE("a model quantised while loading computes what the quantised file computes, on every backend", "[quantise]") {
  const auto file = KVASIR_NEEDS(shared_data("tiny-models/mixtral/model-bf16.gguf"));
  const TemporaryFolder folder;
  const auto source = std::move(*ModelFile::open(file.string()));
  GgufWriter out;
  out.copy(source->metadata());
  const auto described = describe_model(file.string(), {.quantize = QuantizeOnLoad::kQ8_0});
  REQUIRE(described);
  for (const FileTensor& tensor : source->tensors()) {
    if (tensor_of(*described, tensor.name).type != "Q8_0") {
      out.tensor(tensor);
      continue;
    }
    const std::vector<float> values = values_of(tensor);
    out.tensor(tensor.name, TensorType::kQ8_0, {tensor.dims.begin(), tensor.dims.begin() + tensor.dimensions},
               to_bytes(quantised(TensorType::kQ8_0, values)));
  }
  const fs::path stored = folder.path() / "stored.gguf";
  out.write(stored);
  CHECK(tensor_of(*described, "blk.0.ffn_gate_inp.weight").type != "Q8_0");
  CHECK(tensor_of(*described, "blk.0.ffn_down_exps.weight").type == "Q8_0");
  CHECK(tensor_of(*described, "blk.0.ffn_gate_exps.weight").type == "BF16");  // rows of 48
  CHECK(described->quantized_on_load.find("kept, their rows being no multiple of 32") != std::string::npos);
  auto backends = usable_cpu_backends();
  backends.emplace_back("reference");
  for (const std::string& backend : backends) {
    INFO(backend);
    Runner on_load(file, {.backend = backend, .quantize = QuantizeOnLoad::kQ8_0});
    Runner from_file(stored, {.backend = backend});
    CHECK(on_load.run(kTokens) == from_file.run(kTokens));
  }
}

TEST_CASE("a quantised file is left as it is, and rows of no whole blocks are kept and named", "[quantise]") {
  const auto model = KVASIR_NEEDS(shared_data("tiny-models/quant_mixed/model-mixed.gguf"));
  const auto before = describe_model(model.string());
  const auto after = describe_model(model.string(), {.quantize = QuantizeOnLoad::kQ8_0});
  REQUIRE(after);
  for (size_t i = 0; i < after->tensors.size(); ++i) {
    const std::string& type = before->tensors[i].type;
    if (type != "F32" && type != "F16" && type != "BF16") CHECK(after->tensors[i].type == type);
  }
  const auto odd =
      KVASIR_NEEDS(shared_data("tiny-models/gemma/model-bf16.gguf"));  // rows of 96 and 24 * 4 fit, some do not
  const auto source = std::move(*ModelFile::open(odd.string()));
  GgufWriter out;
  const TemporaryFolder folder;
  out.copy(source->metadata());
  for (const FileTensor& tensor : source->tensors()) out.tensor(tensor);
  out.tensor("blk.0.odd.weight", TensorType::kF32, {33, 2}, std::string(33 * 2 * 4, '\0'));
  out.write(folder.path() / "odd.gguf");
  const auto kept = describe_model((folder.path() / "odd.gguf").string(), {.quantize = QuantizeOnLoad::kQ4_0});
  REQUIRE(kept);
  CHECK(tensor_of(*kept, "blk.0.odd.weight").type == "F32");
  CHECK(kept->quantized_on_load.find("blk.0.odd.weight") != std::string::npos);
}

TEST_CASE("bf16 asked for: float32 and half matrices of any row length are rounded to nearest even, others stay", "[quantise]") {
  const auto shape_source = KVASIR_NEEDS(shared_data("tiny-models/llama/model-bf16.gguf"));
  const auto source = std::move(*ModelFile::open(shape_source.string()));
  const TemporaryFolder folder;
  GgufWriter out;
  out.copy(source->metadata());
  for (const FileTensor& tensor : source->tensors()) {
    if (tensor.name != "blk.0.ffn_up.weight") {
      out.tensor(tensor);
      continue;
    }
    std::vector<float> values = values_of(tensor);
    for (size_t i = 0; i < values.size(); ++i) {  // a quarter of a step off, and half a step: back to what was there
      const auto bits = std::bit_cast<uint32_t>(values[i]);
      const bool even = ((bits >> 16) & 1U) == 0;
      values[i] = std::bit_cast<float>(bits | (i % 2 == 1 && even ? 0x8000U : 0x4000U));
    }
    out.tensor(tensor.name, TensorType::kF32, {tensor.dims[0], tensor.dims[1]}, to_bytes(std::as_bytes(std::span(values))));
  }
  // 33 values a row: no whole blocks of 32, and 1 + 2^-7 + 2^-8 lies between two bf16 values, the upper of them even.
  const std::vector<float> odd(33 * 2, 1.01171875F);
  out.tensor("blk.0.odd.weight", TensorType::kF32, {33, 2}, to_bytes(std::as_bytes(std::span(odd))));
  const fs::path mixed = folder.path() / "mixed.gguf";
  out.write(mixed);
  const auto described = describe_model(mixed.string(), {.quantize = QuantizeOnLoad::kBF16});
  REQUIRE(described);
  CHECK(described->quantized_on_load == "2 float matrices quantized to BF16 while loading");
  CHECK(tensor_of(*described, "blk.0.ffn_up.weight").type == "BF16");
  CHECK(tensor_of(*described, "blk.0.odd.weight").type == "BF16");
  CHECK(tensor_of(*described, "blk.0.attn_norm.weight").type == "F32");
  CHECK(logits_of(mixed, QuantizeOnLoad::kBF16) == logits_of(shape_source, QuantizeOnLoad::kNone));
  CHECK(logits_of(mixed, QuantizeOnLoad::kNone) != logits_of(shape_source, QuantizeOnLoad::kNone));

  std::array<std::byte, 2> rounded{};
  REQUIRE(quantise_blocks(TensorType::kBF16, std::span(odd).first(1), rounded));
  CHECK(rounded == std::array{std::byte{0x82}, std::byte{0x3f}});
  for (const float bad : {INFINITY, -INFINITY, NAN, 3.4e38F}) {
    CHECK_FALSE(quantise_blocks(TensorType::kBF16, std::span(&bad, 1), rounded));
  }
}

TEST_CASE("values that cannot be quantised end the load with the tensor's name", "[quantise]") {
  const auto file = KVASIR_NEEDS(shared_data("tiny-models/llama/model-bf16.gguf"));
  const auto source = std::move(*ModelFile::open(file.string()));
  const TemporaryFolder folder;
  GgufWriter out;
  out.copy(source->metadata());
  for (const FileTensor& tensor : source->tensors()) {
    if (tensor.name == "blk.1.ffn_up.weight") {
      out.tensor(tensor.name, tensor.type, {tensor.dims[0], tensor.dims[1]}, std::string(tensor.bytes, '\x7f'));  // NaN
    } else {
      out.tensor(tensor);
    }
  }
  const fs::path bad = folder.path() / "bad.gguf";
  out.write(bad);
  const auto backend = std::move(*BackendRegistry::create().open("auto", {}));
  CHECK(Model::load(bad.string(), *backend, {}));
  const auto refused = Model::load(bad.string(), *backend, {}, {.quantize = QuantizeOnLoad::kQ8_0});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::kCorrupt);
  CHECK(refused.error().message.find("blk.1.ffn_up.weight") != std::string::npos);
}
