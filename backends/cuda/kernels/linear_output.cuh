// Where every product ends: y = scale * (sum + bias) (+ y).
#pragma once

#include "backends/cuda/kernels/args.h"
#include "backends/cuda/kernels/simt.h"

namespace kvasir::cuda {

KVASIR_DEVICE void write_output(const LinearOutput& out, uint64_t t, uint32_t m, float sum) {
  float v = out.bias != nullptr ? sum + out.bias[m] : sum;
  v *= out.scale;
  float& y = out.y.data[t * out.y.stride + m];
  y = out.accumulate != 0 ? y + v : v;
}

}  // namespace kvasir::cuda
