// Codebooks of the IQ tensor types and the values that their codes stand for. Constant data, thread-safe.
#pragma once

#include <array>
#include <cstdint>

namespace kvasir::iq {

extern const std::array<uint16_t, 256> kIq2xxsGrid;
extern const std::array<uint16_t, 512> kIq2xsGrid;
extern const std::array<uint16_t, 1024> kIq2sGrid;
extern const std::array<uint16_t, 256> kIq3xxsGrid;
extern const std::array<uint16_t, 512> kIq3sGrid;
extern const std::array<uint16_t, 2048> kIq1Grid;

inline constexpr std::array<uint8_t, 4> kIq2Levels = {8, 25, 43, 0};
inline constexpr std::array<uint8_t, 8> kIq3xxsLevels = {4, 12, 20, 28, 36, 44, 52, 62};
inline constexpr std::array<uint8_t, 8> kIq3sLevels = {1, 3, 5, 7, 9, 11, 13, 15};
inline constexpr std::array<int8_t, 4> kIq1Levels = {-1, 0, 1, 0};
inline constexpr float kIq1Delta = 0.125F;

/// Non-linear 4-bit levels of IQ4_NL and IQ4_XS.
inline constexpr std::array<int8_t, 16> kIq4Levels = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                      1,    13,   25,  38,  53,  69,  89,  113};
/// E2M1 values, doubled (MXFP4, NVFP4: OCP Microscaling Formats 1.0).
inline constexpr std::array<int8_t, 16> kFp4Levels = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

}  // namespace kvasir::iq
