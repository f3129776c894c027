// Every decoder against the values that the reference decoders gave for the same blocks, bit for bit.
#include "backends/reference/dequantise.h"

#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <vector>

#include "tests/support/data.h"

using namespace kvasir;

TEST_CASE("every quantised type decodes bit for bit like the reference decoders", "[dequantise]") {
  const auto folder = KVASIR_NEEDS(test::shared_data("quant-blocks"));
  const auto index = nlohmann::json::parse(test::read_file(folder / "index.json"));
  REQUIRE(index.size() == 27);
  for (const auto& [name, row] : index.items()) {
    const TensorTypeInfo* info = tensor_type_info(row["ggml_type"].get<uint32_t>());
    REQUIRE(info != nullptr);
    CAPTURE(name);
    CHECK(info->name == name);
    CHECK(info->block_values == row["values_per_block"].get<uint32_t>());
    CHECK(info->block_bytes == row["bytes_per_block"].get<uint32_t>());
    const std::string blocks = test::read_file(folder / (name + ".blocks"));
    const std::string expected = test::read_file(folder / (name + ".f32"));
    REQUIRE(blocks.size() == row["blocks"].get<size_t>() * info->block_bytes);
    REQUIRE(expected.size() == row["blocks"].get<size_t>() * info->block_values * sizeof(float));
    std::vector<float> values(expected.size() / sizeof(float));
    dequantise(info->type, std::as_bytes(std::span(blocks)), values);
    size_t wrong = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      float want = 0;
      std::memcpy(&want, expected.data() + i * sizeof(float), sizeof want);
      // Zero times a negative scale may carry either sign: the same value.
      if (std::bit_cast<uint32_t>(values[i]) != std::bit_cast<uint32_t>(want) && !(values[i] == 0.0F && want == 0.0F)) {
        if (wrong++ == 0) UNSCOPED_INFO("first at " << i << ": " << values[i] << " instead of " << want);
      }
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("half precision round trip is exact for every finite half", "[dequantise]") {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    if ((half & 0x7C00) == 0x7C00 && (half & 0x3FF) != 0) continue;  // NaN payloads are not kept
    REQUIRE(float_to_half(half_to_float(half)) == half);
  }
}

TEST_CASE("conversion to half rounds to nearest even, into subnormals and into infinity", "[dequantise]") {
  CHECK(float_to_half(1.0F + 0.00048828125F) == 0x3C00);      // halfway: even below
  CHECK(float_to_half(1.0F + 3 * 0.00048828125F) == 0x3C02);  // halfway: even above
  CHECK(float_to_half(std::ldexp(1.0F, -25)) == 0x0000);      // half of the smallest: even
  CHECK(float_to_half(std::ldexp(1.5F, -25)) == 0x0001);
  CHECK(float_to_half(65519.0F) == 0x7BFF);
  CHECK(float_to_half(65520.0F) == 0x7C00);
  CHECK(float_to_half(-1e30F) == 0xFC00);
  CHECK((float_to_half(std::nanf("")) & 0x7FFF) > 0x7C00);
}
