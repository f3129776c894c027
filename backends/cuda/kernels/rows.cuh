// Kernels over rows of activations: table lookups, norms, elementwise ops, copies, rope. One thread per value (or pair),
// sums in one fixed tree per row.
#pragma once

#include "backends/cuda/kernels/activation.cuh"
#include "backends/cuda/kernels/args.h"
#include "backends/cuda/kernels/decode.cuh"
#include "backends/cuda/kernels/rope.cuh"
#include "backends/cuda/kernels/simt.h"

namespace kvasir::cuda {

constexpr uint32_t kRowThreads = 128;
constexpr uint32_t kNormThreads = 256;  ///< as quantise.cuh: both give the same bits

/// Grid: (columns / 8 / threads, rows).
KVASIR_KERNEL(kRowThreads, 4) decode_rows_kernel(KVASIR_ARGS(DecodeRowsArgs) a) {
  begin_dependent();
  const uint32_t g = block_x() * threads_x() + thread_x(), t = block_y();
  if (8 * g >= a.y.cols) return;
  float values[8];
  decode_eight(a.table, 0, a.ids[t] + a.offset, g, values);
  float* y = a.y.data + t * a.y.stride + 8 * g;
  for (uint32_t i = 0; i < 8 && 8 * g + i < a.y.cols; ++i) {
    const float v = values[i] * a.scale;
    y[i] = a.accumulate != 0 ? y[i] + v : v;
  }
}

/// Grid: (groups, rows).
KVASIR_KERNEL(kNormThreads, 4) norm_kernel(KVASIR_ARGS(NormArgs) a) {
  KVASIR_SHARED float scratch[32];
  begin_dependent();
  const uint32_t n = a.x.cols / a.groups, first = block_x() * n;
  const float* x = a.x.data + block_y() * a.x.stride + first;
  float* y = a.y.data + block_y() * a.y.stride + first;
  const float count = static_cast<float>(n);
  float mean = 0.0F;
  if (a.layer != 0) {
    for (uint32_t i = thread_x(); i < n; i += threads_x()) mean += x[i];
    mean = block_sum(mean, scratch) / count;
  }
  float squares = 0.0F;
  for (uint32_t i = thread_x(); i < n; i += threads_x()) squares = fmaf(x[i] - mean, x[i] - mean, squares);
  const float factor = 1.0F / sqrtf(block_sum(squares, scratch) / count + a.eps);
  const uint32_t at = block_x() * a.weight_step;
  for (uint32_t i = thread_x(); i < n; i += threads_x()) {
    float v = (x[i] - mean) * factor;
    if (a.weight != nullptr) v *= a.weight[at + i];
    if (a.bias != nullptr) v += a.bias[at + i];
    y[i] = v;
  }
}

/// Grid: (columns / threads, rows).
KVASIR_KERNEL(kRowThreads, 8) element_kernel(KVASIR_ARGS(ElementArgs) a) {
  begin_dependent();
  const uint32_t i = block_x() * threads_x() + thread_x(), t = block_y();
  if (i >= a.y.cols) return;
  float& y = a.y.data[t * a.y.stride + i];
  const float* x = a.x.data + t * a.x.stride;
  switch (a.kind) {
    case Element::kGated: y = gated_of(a.activation, x[i], a.z.data[t * a.z.stride + i]); break;
    case Element::kActivate: y = activation_of(a.activation, x[i]); break;
    case Element::kAdd: y = fmaf(a.factor, x[i], y); break;
    case Element::kMultiply: y *= x[i]; break;
    case Element::kMultiplyRow: y *= x[0]; break;
    case Element::kScale: y *= a.factor; break;
    case Element::kSoftCap: y = a.factor * tanhf(y / a.factor); break;
  }
}

/// Grid: (columns / threads, rows).
KVASIR_KERNEL(kRowThreads, 8) copy_rows_kernel(KVASIR_ARGS(CopyRowsArgs) a) {
  begin_dependent();
  const uint32_t i = block_x() * threads_x() + thread_x(), t = block_y();
  if (i >= a.y.cols) return;
  const uint64_t from = a.rows == nullptr ? t : a.rows[t];
  a.y.data[t * a.y.stride + i] = a.x[from * a.x_stride + i];
}

/// Grid: (heads, rows).
KVASIR_KERNEL(kRowThreads, 4) rope_kernel(KVASIR_ARGS(RopeArgs) a) {
  begin_dependent();
  turn_head(a, block_x(), block_y());
}

}  // namespace kvasir::cuda
