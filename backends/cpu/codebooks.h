// The grids of the IQ formats as the kernels look them up: 8 (IQ3: 4) bytes of q = zero + level at a time. Constant data, thread-safe. Included by ISA spines: plain arrays only.
#pragma once

#include <cstdint>

namespace kvasir::cpu {

struct Codebooks {
  uint64_t iq2_xxs[256], iq2_xs[512], iq2_s[1024];  ///< 64 + level
  uint64_t iq1[2048];                               ///< 16 + 8 * level
  uint32_t iq3_xxs[256];                            ///< 64 + level
  uint32_t iq3_s[512];                              ///< 16 + level
};

extern const Codebooks kCodebooks;

}  // namespace kvasir::cpu
