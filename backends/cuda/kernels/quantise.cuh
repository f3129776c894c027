// 8-bit activations: per row and 32 values q = round(x / d), d = max|x| / 127, with the sums that folded zero points and
// minima need. The row may first be normed, or be act(gate) * up, so that neither has to be written out.
#pragma once

#include "backends/cuda/kernels/activation.cuh"
#include "backends/cuda/kernels/args.h"
#include "backends/cuda/kernels/simt.h"

namespace kvasir::cuda {

constexpr uint32_t kQuantiseThreads = 256;

/// Grid: (1, rows).
KVASIR_KERNEL(kQuantiseThreads, 4) quantise_kernel(KVASIR_ARGS(QuantiseArgs) a) {
  KVASIR_SHARED float scratch[32];
  begin_dependent();
  const uint32_t t = block_y(), n = a.x.cols;
  const float* x = a.x.data + t * a.x.stride;
  const float* up = a.up + t * a.up_stride;
  float mean = 0.0F, factor = 1.0F;
  if (a.source == RowSource::kNorm) {  // the same operations as norm_kernel, but for its number of threads
    const float count = static_cast<float>(n);
    if (a.layer != 0) {
      for (uint32_t i = thread_x(); i < n; i += threads_x()) mean += x[i];
      mean = block_sum(mean, scratch) / count;
    }
    float squares = 0.0F;
    for (uint32_t i = thread_x(); i < n; i += threads_x()) squares = fmaf(x[i] - mean, x[i] - mean, squares);
    factor = 1.0F / sqrtf(block_sum(squares, scratch) / count + a.eps);
  }
  const uint32_t columns = a.group_columns, group = t / columns, column = t % columns;
  const uint32_t left = a.x.rows - group * columns, width = left < columns ? left : columns;  // columns in this group
  const uint64_t base = static_cast<uint64_t>(group) * columns * (n / 32);
  for (uint32_t b = warp_id(); b < n / 32; b += threads_x() / kWarp) {
    const uint32_t i = b * 32 + lane_id();
    float v = x[i];
    if (a.source == RowSource::kNorm) {
      v = (v - mean) * factor;
      if (a.weight != nullptr) v *= a.weight[i];
      if (a.bias != nullptr) v += a.bias[i];
    } else if (a.source == RowSource::kGated) {
      v = gated_of(a.activation, v, up[i]);
    }
    const float largest = warp_max(fabsf(v)), scale = largest / 127.0F;
    const int q = round_to_int(v * (largest > 0.0F ? 127.0F / largest : 0.0F));
    int half = q;
    KVASIR_UNROLL
    for (int mask = 8; mask > 0; mask >>= 1) half += shuffle_xor(half, mask);
    const int other = shuffle_xor(half, 16);
    const uint64_t at = base + b * width + column;
    a.q[at * 32 + lane_id()] = static_cast<int8_t>(q);
    if (lane_id() == 0) {
      reinterpret_cast<Floats4*>(a.scales)[at] = {scale, scale * static_cast<float>(half + other), as_float(static_cast<uint32_t>(half)), as_float(static_cast<uint32_t>(other))};
    }
  }
}

}  // namespace kvasir::cuda
