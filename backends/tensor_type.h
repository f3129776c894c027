// The ggml tensor types by their file numbers, with block geometry. The one table that says which types exist.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace kvasir {

enum class TensorType : uint32_t {
  kF32 = 0, kF16 = 1, kQ4_0 = 2, kQ4_1 = 3, kQ5_0 = 6, kQ5_1 = 7, kQ8_0 = 8,
  kQ2_K = 10, kQ3_K = 11, kQ4_K = 12, kQ5_K = 13, kQ6_K = 14,
  kIQ2_XXS = 16, kIQ2_XS = 17, kIQ3_XXS = 18, kIQ1_S = 19, kIQ4_NL = 20, kIQ3_S = 21, kIQ2_S = 22, kIQ4_XS = 23,
  kIQ1_M = 29, kBF16 = 30, kTQ1_0 = 34, kTQ2_0 = 35, kMXFP4 = 39, kNVFP4 = 40, kQ1_0 = 41, kQ2_0 = 42,
};

struct TensorTypeInfo {
  TensorType type;
  std::string_view name;   ///< as GGUF tools print it, e.g. "Q4_K"
  uint32_t block_values;   ///< values per block; rows hold whole blocks
  uint32_t block_bytes;
};

/// The row of the table, or nullptr for a number that is no known type.
const TensorTypeInfo* tensor_type_info(uint32_t ggml_number) noexcept;
inline const TensorTypeInfo* tensor_type_info(TensorType type) noexcept {
  return tensor_type_info(static_cast<uint32_t>(type));
}
std::optional<TensorType> tensor_type_by_name(std::string_view name) noexcept;

}  // namespace kvasir
