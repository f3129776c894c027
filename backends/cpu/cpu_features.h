// What this CPU and its operating system allow (CPUID and XGETBV), and how many cores we may use. Thread-safe.
#pragma once

#include <cstdint>

namespace kvasir::cpu {

struct CpuFeatures {
  bool avx2 = false;         ///< AVX2, FMA and F16C, ymm state saved by the OS
  bool avx_vnni = false;     ///< 256-bit VEX VNNI
  bool avx512 = false;       ///< F, BW, VL and DQ, zmm state saved by the OS
  bool avx512_vnni = false;
  bool avx512_bf16 = false;
};

CpuFeatures detect_cpu_features() noexcept;

/// Physical cores among the CPUs that this process may run on, at most the cgroup's CPU quota (rounded up), at least 1.
uint32_t usable_cores() noexcept;

}  // namespace kvasir::cpu
