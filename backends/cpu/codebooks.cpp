#include "backends/cpu/codebooks.h"

#include <array>
#include <cstddef>

#include "backends/iq_tables.h"

namespace kvasir::cpu {
namespace {

/// Bytes zero + factor * levels[code], one per code of `bits` bits in each grid point.
template <class Word, size_t Size, class Level, size_t Levels>
constexpr void spread(Word (&to)[Size], const std::array<uint16_t, Size>& grid, unsigned bits,
                      const std::array<Level, Levels>& levels, int zero, int factor = 1) {
  for (size_t i = 0; i < Size; ++i) {
    to[i] = 0;
    for (unsigned j = 0; j < sizeof(Word); ++j) {
      const int level = levels[(unsigned{grid[i]} >> (bits * j)) & ((1U << bits) - 1U)];
      to[i] |= static_cast<Word>(zero + factor * level) << (8 * j);
    }
  }
}

constexpr Codebooks make_codebooks() {
  Codebooks c{};
  spread(c.iq2_xxs, iq::kIq2xxsGrid, 2, iq::kIq2Levels, 64);
  spread(c.iq2_xs, iq::kIq2xsGrid, 2, iq::kIq2Levels, 64);
  spread(c.iq2_s, iq::kIq2sGrid, 2, iq::kIq2Levels, 64);
  spread(c.iq1, iq::kIq1Grid, 2, iq::kIq1Levels, 16, 8);
  spread(c.iq3_xxs, iq::kIq3xxsGrid, 3, iq::kIq3xxsLevels, 64);
  spread(c.iq3_s, iq::kIq3sGrid, 3, iq::kIq3sLevels, 16);
  return c;
}

}  // namespace

constinit const Codebooks kCodebooks = make_codebooks();

}  // namespace kvasir::cpu
