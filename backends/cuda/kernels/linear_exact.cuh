// Products with f32 activations for every stored type: the general way, and what `--activations f32` always takes. Each
// output is one chain of fused multiply-adds per lane over ascending k and one fixed tree over lanes, whatever the
// number of rows: a warp owns a row of the weights and up to kExactColumns activations at a time.
#pragma once

#include "backends/cuda/kernels/args.h"
#include "backends/cuda/kernels/decode.cuh"
#include "backends/cuda/kernels/linear_output.cuh"
#include "backends/cuda/kernels/simt.h"

namespace kvasir::cuda {

constexpr uint32_t kExactThreads = 128;
constexpr uint32_t kExactColumns = 8;

/// Grid: (weight rows / warps, groups of kExactColumns activations).
KVASIR_KERNEL(kExactThreads, 4) linear_exact_kernel(KVASIR_ARGS(LinearArgs) a) {
  begin_dependent();
  const uint32_t m = block_x() * (kExactThreads / kWarp) + warp_id();
  if (m >= a.w.rows) return;
  const uint32_t first = block_y() * kExactColumns;
  const uint32_t count = a.x.rows - first < kExactColumns ? a.x.rows - first : kExactColumns;
  float sums[kExactColumns] = {};
  for (uint32_t g = lane_id(); 8 * g < a.w.cols; g += kWarp) {
    float w[8];
    decode_eight(a.w, 0, m, g, w);
    const uint32_t n = a.w.cols - 8 * g < 8 ? a.w.cols - 8 * g : 8;
    KVASIR_UNROLL
    for (uint32_t c = 0; c < kExactColumns; ++c) {
      if (c >= count) continue;
      const float* x = a.x.data + (first + c) * a.x.stride + 8 * g;
      for (uint32_t i = 0; i < n; ++i) sums[c] = fmaf(w[i], x[i], sums[c]);
    }
  }
  KVASIR_UNROLL
  for (uint32_t c = 0; c < kExactColumns; ++c) {
    const float sum = warp_sum(sums[c]);
    if (c < count && lane_id() == 0) write_output(a.out, first + c, m, sum);
  }
}

}  // namespace kvasir::cuda
