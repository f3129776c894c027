// Scalar decoders of every tensor type: the exact values that a file's blocks stand for, bit for bit those of ggml's
// reference code (products and sums of few factors in float32, in its order). Shared by the reference backend, by table
// lookups and by tests; never a fast path. Pure functions, thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "backends/half.h"
#include "backends/tensor_type.h"

namespace kvasir {

/// Decodes `values.size()` values, whole blocks; `blocks` holds exactly their bytes.
void dequantise(TensorType type, std::span<const std::byte> blocks, std::span<float> values) noexcept;

float bfloat_to_float(uint16_t bits) noexcept;

namespace detail {
/// One block of any IQ, TQ or FP4 type (dequantise_codebook.cpp); false if `type` is none of these.
bool dequantise_codebook_block(TensorType type, const uint8_t* block, float* y) noexcept;
}  // namespace detail

}  // namespace kvasir
