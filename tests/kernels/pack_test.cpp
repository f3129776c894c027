// Packing and decoding: what embed() reads from the packed panels, bit for bit against the reference decoders.
#include <catch2/catch.hpp>

#include <cstring>

#include "backends/cpu/cpu_weight.h"
#include "backends/cpu/format.h"
#include "tests/kernels/kernel_lab.h"
#include "tests/support/data.h"

using namespace kvasir;
using namespace kvasir::test;

namespace {

/// Equal, where zeros may differ in sign (0 * -d).
bool same_values(const std::vector<float>& a, const float* b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (!(a[i] == b[i])) return false;
  }
  return true;
}

struct FileSource final : ByteSource {
  std::string bytes;
  Result<void> read(uint64_t offset, std::span<std::byte> into) const override {
    if (offset + into.size() > bytes.size()) return Failure{Code::kCorrupt, "the source ended"};
    std::memcpy(into.data(), bytes.data() + offset, into.size());
    return {};
  }
};

}  // namespace

TEST_CASE("packed panels decode bit for bit to the values of the shared blocks", "[kernels]") {
  const auto folder = KVASIR_NEEDS(shared_data("quant-blocks"));
  for (const std::string& variant : usable_variants()) {
    auto backend = open_cpu(variant, 2);
    for (const TensorType type : kPackedTypes) {
      const TensorTypeInfo* info = tensor_type_info(type);
      if (type == TensorType::kF32) continue;  // nothing to decode
      FileSource source;
      source.bytes = read_file(folder / (std::string(info->name) + ".blocks"));
      const std::string want = read_file(folder / (std::string(info->name) + ".f32"));
      const auto rows = static_cast<uint32_t>(info->block_values == 1 ? 32 : source.bytes.size() / info->block_bytes);
      const auto cols = static_cast<uint32_t>(want.size() / sizeof(float) / rows);
      const HostTensor tensor{.name = "t", .type = type, .rows = rows, .cols = cols, .source = &source};
      auto weight = backend->upload(tensor, WeightUse::kTable);
      REQUIRE(weight);
      Lab lab(open_cpu(variant, 2));
      std::vector<TokenId> ids(rows);
      for (uint32_t i = 0; i < rows; ++i) ids[i] = static_cast<TokenId>(i);
      const auto y = lab.run(rows, [&](Lab& l) {
        const Mat out = l.stream().alloc(rows, cols);
        l.stream().embed(out, **weight, ids, 1.0F);
        l.output(out);
      });
      std::vector<float> expected(y[0].size());
      std::memcpy(expected.data(), want.data(), want.size());
      CAPTURE(variant, info->name);
      CHECK(same_values(y[0], expected.data()));
    }
  }
}

TEST_CASE("tables and vectors of any type, with any number of rows, hold their values", "[kernels]") {
  for (const std::string& variant : usable_variants()) {
    for (const TensorType type : kPackedTypes) {
      const uint32_t cols = tensor_type_info(type)->block_values == 1 ? 45 : 512;
      for (const uint32_t rows : {1U, 16U, 37U}) {
        Lab lab(open_cpu(variant, 3));
        const Weight& table = lab.weight(type, rows, cols, 11, WeightUse::kTableAndMatrix);
        const Weight& vectors = lab.weight(type, rows, cols, 11, WeightUse::kVector);
        const std::vector<float> want = decoded_tensor(type, rows, cols, 11);
        const std::vector<TokenId> ids = {0, static_cast<TokenId>(rows - 1), static_cast<TokenId>(rows / 2), 0};
        const auto y = lab.run(4, [&](Lab& l) {
          const Mat out = l.stream().alloc(4, cols);
          l.stream().embed(out, table, ids, 1.0F);
          l.output(out);
        });
        CAPTURE(variant, tensor_type_info(type)->name, rows);
        for (size_t i = 0; i < ids.size(); ++i) {
          const std::vector<float> row(y[0].begin() + static_cast<ptrdiff_t>(i * cols), y[0].begin() + static_cast<ptrdiff_t>((i + 1) * cols));
          CHECK(same_values(row, want.data() + static_cast<size_t>(ids[i]) * cols));
        }
        CHECK(std::memcmp(static_cast<const cpu::CpuWeight&>(vectors).values(), want.data(), want.size() * sizeof(float)) == 0);
      }
    }
  }
}

TEST_CASE("packing keeps the size of the file within 5 percent", "[kernels]") {
  for (const TensorType type : kPackedTypes) {
    const auto format = cpu::format_of(type);
    REQUIRE(format);
    const TensorTypeInfo* info = tensor_type_info(type);
    const double file = 16.0 * 1024 / info->block_values * info->block_bytes;
    CAPTURE(info->name);
    CHECK(static_cast<double>(cpu::panel_bytes(*format, 1024)) <= 1.05 * file);
  }
}

TEST_CASE("a vector may be shifted while loading (norms stored as w of w + 1)", "[kernels]") {
  for (const std::string& variant : usable_variants()) {
    Lab lab(open_cpu(variant));
    const Weight& v = lab.vector({1.0F, -2.0F, 0.5F}, 1.0F);
    const float* values = static_cast<const cpu::CpuWeight&>(v).values();
    CHECK(values[0] == 2.0F);
    CHECK(values[1] == -1.0F);
    CHECK(values[2] == 1.5F);
  }
}

TEST_CASE("uploads refuse what they cannot hold", "[kernels]") {
  auto backend = open_cpu(usable_variants().back());
  FileSource source;
  source.bytes.assign(100, '\0');
  HostTensor tensor{.name = "t", .type = TensorType::kQ4_0, .rows = 4, .cols = 32, .source = &source};
  CHECK(backend->upload(tensor, WeightUse::kMatrix));
  tensor.offset = 60;  // ends behind the source
  auto shrunk = backend->upload(tensor, WeightUse::kMatrix);
  REQUIRE(!shrunk);
  CHECK(shrunk.error().code == Code::kCorrupt);
  tensor.offset = 0;
  tensor.cols = 33;
  auto ragged = backend->upload(tensor, WeightUse::kMatrix);
  REQUIRE(!ragged);
  CHECK(ragged.error().code == Code::kCorrupt);
  tensor.cols = 32;
  tensor.rows = uint64_t{1} << 40;
  auto huge = backend->upload(tensor, WeightUse::kMatrix);
  REQUIRE(!huge);
  CHECK(huge.error().code == Code::kTooLarge);
  tensor.rows = 1;
  tensor.type = static_cast<TensorType>(4);  // a number that files once used
  tensor.cols = 64;
  auto unknown = backend->upload(tensor, WeightUse::kMatrix);
  REQUIRE(!unknown);
  CHECK(unknown.error().code == Code::kUnsupported);
}
