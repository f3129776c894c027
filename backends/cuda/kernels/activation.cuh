// The activation functions, in f32.
#pragma once

#include "backends/cuda/kernels/simt.h"

namespace kvasir::cuda {

KVASIR_DEVICE float sigmoid(float x) { return 1.0F / (1.0F + expf(-x)); }

/// In the order of kvasir::Activation.
KVASIR_DEVICE float activation_of(uint32_t kind, float x) {
  switch (kind) {
    case 0: return x * sigmoid(x);
    case 1: return 0.5F * x * (1.0F + erff(x * 0.70710678118654752F));
    case 2: return 0.5F * x * (1.0F + tanhf(0.79788456080286536F * (x + 0.044715F * x * x * x)));
    case 3: return x * sigmoid(1.702F * x);
    case 4: return fmaxf(x, 0.0F);
    case 5: return fmaxf(x, 0.0F) * fmaxf(x, 0.0F);
    case 6: return sigmoid(x);
    case 7: return tanhf(x);
    case 8: return x > 20.0F ? x : log1pf(expf(x));
    case 10: return fminf(x, 7.0F) * sigmoid(1.702F * fminf(x, 7.0F));
    default: return x;
  }
}
KVASIR_DEVICE float gated_of(uint32_t kind, float gate, float up) {
  return activation_of(kind, gate) * (kind == 10 ? fminf(fmaxf(up, -7.0F), 7.0F) + 1.0F : up);
}

}  // namespace kvasir::cuda
