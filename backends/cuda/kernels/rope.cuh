// Rotary embedding of one head by one block.
#pragma once

#include "backends/cuda/kernels/args.h"
#include "backends/cuda/kernels/simt.h"

namespace kvasir::cuda {

/// Sine and cosine of 2 pi turns, |turns| <= 0.5.
KVASIR_DEVICE void sincos_turns(float turns, float& s, float& c) {
#if defined(__CUDACC__)
  sincospif(2.0F * turns, &s, &c);
#else
  s = static_cast<float>(std::sin(6.283185307179586477 * static_cast<double>(turns)));
  c = static_cast<float>(std::cos(6.283185307179586477 * static_cast<double>(turns)));
#endif
}

/// Head `h` of row `t`. The angle in double, since a float of 131072 * frequency is off by 0.01.
KVASIR_DEVICE void turn_head(const RopeArgs& a, uint32_t h, uint32_t t) {
  const uint32_t step = a.interleaved != 0 ? 2 : 1, partner = a.interleaved != 0 ? 1 : a.pairs;
  float* head = a.x + t * a.stride + h * a.head_size + a.offset;
  const double position = static_cast<double>(a.positions[t]);
  for (uint32_t i = thread_x(); i < a.pairs; i += threads_x()) {
    const double turns = position * static_cast<double>(a.inverse_frequency[i]) * 0.15915494309189533577;
    float s, c;
    sincos_turns(static_cast<float>(turns - rint(turns)), s, c);
    s *= a.magnitude;
    c *= a.magnitude;
    float* pair = head + i * step;
    const float x = pair[0], z = pair[partner];
    pair[0] = fmaf(x, c, -(z * s));
    pair[partner] = fmaf(x, s, z * c);
  }
}

}  // namespace kvasir::cuda
