#include "core/sampling/philox.h"

namespace kvasir {
namespace {

constexpr uint32_t kMultiplier0 = 0xD2511F53U;
constexpr uint32_t kMultiplier1 = 0xCD9E8D57U;
constexpr uint32_t kWeyl0 = 0x9E3779B9U;
constexpr uint32_t kWeyl1 = 0xBB67AE85U;
constexpr int kRounds = 10;

constexpr uint32_t low(uint64_t v) noexcept {
  return static_cast<uint32_t>(v & 0xFFFFFFFFU);
}
constexpr uint32_t high(uint64_t v) noexcept {
  return static_cast<uint32_t>(v >> 32U);
}

}  // namespace

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) noexcept {
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t product0 = uint64_t{kMultiplier0} * counter[0];
    const uint64_t product1 = uint64_t{kMultiplier1} * counter[2];
    counter = {high(product1) ^ counter[1] ^ key[0], low(product1), high(product0) ^ counter[3] ^ key[1],
               low(product0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

double uniform_at(uint64_t seed, uint64_t position) noexcept {
  const auto words = philox4x32({low(position), high(position), 0, 0}, {low(seed), high(seed)});
  const uint64_t bits = (uint64_t{words[0]} << 32U | words[1]) >> 11U;
  return static_cast<double>(bits) * 0x1.0p-53;
}

}  // namespace kvasir
