#include "backends/tensor_type.h"

#include <array>

namespace kvasir {
namespace {

// Numbers and sizes are facts of the file format (ggml.h); a test holds them against the reference decoders.
constexpr std::array kTypes = {
    TensorTypeInfo{TensorType::kF32, "F32", 1, 4},          TensorTypeInfo{TensorType::kF16, "F16", 1, 2},
    TensorTypeInfo{TensorType::kQ4_0, "Q4_0", 32, 18},      TensorTypeInfo{TensorType::kQ4_1, "Q4_1", 32, 20},
    TensorTypeInfo{TensorType::kQ5_0, "Q5_0", 32, 22},      TensorTypeInfo{TensorType::kQ5_1, "Q5_1", 32, 24},
    TensorTypeInfo{TensorType::kQ8_0, "Q8_0", 32, 34},      TensorTypeInfo{TensorType::kQ2_K, "Q2_K", 256, 84},
    TensorTypeInfo{TensorType::kQ3_K, "Q3_K", 256, 110},    TensorTypeInfo{TensorType::kQ4_K, "Q4_K", 256, 144},
    TensorTypeInfo{TensorType::kQ5_K, "Q5_K", 256, 176},    TensorTypeInfo{TensorType::kQ6_K, "Q6_K", 256, 210},
    TensorTypeInfo{TensorType::kIQ2_XXS, "IQ2_XXS", 256, 66}, TensorTypeInfo{TensorType::kIQ2_XS, "IQ2_XS", 256, 74},
    TensorTypeInfo{TensorType::kIQ3_XXS, "IQ3_XXS", 256, 98}, TensorTypeInfo{TensorType::kIQ1_S, "IQ1_S", 256, 50},
    TensorTypeInfo{TensorType::kIQ4_NL, "IQ4_NL", 32, 18},  TensorTypeInfo{TensorType::kIQ3_S, "IQ3_S", 256, 110},
    TensorTypeInfo{TensorType::kIQ2_S, "IQ2_S", 256, 82},   TensorTypeInfo{TensorType::kIQ4_XS, "IQ4_XS", 256, 136},
    TensorTypeInfo{TensorType::kIQ1_M, "IQ1_M", 256, 56},   TensorTypeInfo{TensorType::kBF16, "BF16", 1, 2},
    TensorTypeInfo{TensorType::kTQ1_0, "TQ1_0", 256, 54},   TensorTypeInfo{TensorType::kTQ2_0, "TQ2_0", 256, 66},
    TensorTypeInfo{TensorType::kMXFP4, "MXFP4", 32, 17},    TensorTypeInfo{TensorType::kNVFP4, "NVFP4", 64, 36},
    TensorTypeInfo{TensorType::kQ1_0, "Q1_0", 128, 18},     TensorTypeInfo{TensorType::kQ2_0, "Q2_0", 64, 18},
};

}  // namespace

const TensorTypeInfo* tensor_type_info(uint32_t ggml_number) noexcept {
  for (const auto& row : kTypes) {
    if (static_cast<uint32_t>(row.type) == ggml_number) return &row;
  }
  return nullptr;
}

std::optional<TensorType> tensor_type_by_name(std::string_view name) noexcept {
  for (const auto& row : kTypes) {
    if (row.name == name) return row.type;
  }
  return std::nullopt;
}

}  // namespace kvasir
