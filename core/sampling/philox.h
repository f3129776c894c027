// Philox4x32-10, the counter-based generator behind every draw: the same (key, counter) gives the same numbers on every
// machine, and no state has to be stored. Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC
// 2011. Pure functions, thread-safe.
#pragma once

#include <array>
#include <cstdint>

namespace kvasir {

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) noexcept;

/// Uniform in [0, 1) with 53 random bits, a pure function of its arguments.
double uniform_at(uint64_t seed, uint64_t position) noexcept;

}  // namespace kvasir
