// What goes around a library's product of 16-bit floats: rows to bf16 (for bf16 weights) or f16 (for all others, whose
// eleven bits hold any quantised weight better), and bias, scale and residual afterwards.
#pragma once

#include "backends/cuda/kernels/args.h"
#include "backends/cuda/kernels/linear_output.cuh"
#include "backends/cuda/kernels/simt.h"

namespace kvasir::cuda {

constexpr uint32_t kProductThreads = 256;

/// Grid: (1, rows).
KVASIR_KERNEL(kProductThreads, 4) to_half_kernel(KVASIR_ARGS(ToHalfArgs) a) {
  KVASIR_SHARED float scratch[32];
  begin_dependent();
  const uint32_t t = block_y(), n = a.x.cols;
  const float* x = a.x.data + t * a.x.stride;
  uint16_t* to = a.to + static_cast<uint64_t>(t) * n;
  float scale = 1.0F;
  if (a.kind == FloatKind::kF16) {
    float largest = 0.0F;
    for (uint32_t i = thread_x(); i < n; i += threads_x()) largest = fmaxf(largest, fabsf(x[i]));
    largest = block_max(largest, scratch);
    // 2^(10 - exponent): the largest value lands in [1024, 2048), far from both ends of f16.
    const uint32_t exponent = as_bits(largest) >> 23U & 255U;
    if (exponent > 20 && exponent < 250) scale = as_float((127U + 10U + 127U - exponent) << 23U);
  }
  for (uint32_t i = thread_x(); i < n; i += threads_x()) to[i] = a.kind == FloatKind::kF16 ? half_bits(x[i] * scale) : bfloat_bits(x[i]);
  if (thread_x() == 0) a.inverse_scales[t] = 1.0F / scale;
}

/// Grid: (columns / threads, rows).
KVASIR_KERNEL(kProductThreads, 4) product_out_kernel(KVASIR_ARGS(ProductOutArgs) a) {
  begin_dependent();
  const uint32_t m = block_x() * threads_x() + thread_x(), t = block_y();
  if (m < a.out.y.cols) write_output(a.out, t, m, a.sums[static_cast<uint64_t>(t) * a.out.y.cols + m] * a.factors[t]);
}

}  // namespace kvasir::cuda
