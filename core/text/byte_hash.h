// A fast hash of short byte strings for tables inside this folder. Seeded per table, so that a hostile file cannot
// prepare collisions. Not stable between runs; never stored.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <string_view>

namespace kvasir::text {

/// Both halves of the 128-bit product, folded: mixes every input bit into every output bit.
inline uint64_t fold_multiply(uint64_t a, uint64_t b) noexcept {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

inline constexpr uint64_t kMixA = 0x9E3779B97F4A7C15u;  // golden ratio
inline constexpr uint64_t kMixB = 0xD6E8FEB86659FD93u;

inline uint64_t load_u64(const char* p) noexcept {
  uint64_t out = 0;
  std::memcpy(&out, p, 8);
  return out;
}

inline uint64_t hash_bytes(std::string_view text, uint64_t seed) noexcept {
  const char* p = text.data();
  size_t left = text.size();
  uint64_t h = seed ^ (left * kMixB);
  for (; left > 16; left -= 16, p += 16) h = fold_multiply(load_u64(p) ^ kMixA, load_u64(p + 8) ^ h);
  uint64_t a = 0, b = 0;
  if (left >= 8) {
    a = load_u64(p);
    b = load_u64(p + left - 8);
  } else if (left >= 4) {
    uint32_t low = 0, high = 0;
    std::memcpy(&low, p, 4);
    std::memcpy(&high, p + left - 4, 4);
    a = uint64_t{low} << 32 | high;
  } else if (left > 0) {
    a = uint64_t{static_cast<uint8_t>(p[0])} << 16 | uint64_t{static_cast<uint8_t>(p[left / 2])} << 8 |
        uint64_t{static_cast<uint8_t>(p[left - 1])};
  }
  return fold_multiply(a ^ kMixA ^ h, b ^ kMixB ^ (h >> 7));
}

/// As ==, without a call for short strings.
inline bool equal_bytes(std::string_view a, std::string_view b) noexcept {
  const size_t n = a.size();
  if (n != b.size()) return false;
  const char *p = a.data(), *q = b.data();
  if (n >= 8 && n <= 16) return load_u64(p) == load_u64(q) && load_u64(p + n - 8) == load_u64(q + n - 8);
  if (n >= 4 && n < 8) {
    uint32_t first[2], last[2];
    std::memcpy(&first[0], p, 4);
    std::memcpy(&first[1], q, 4);
    std::memcpy(&last[0], p + n - 4, 4);
    std::memcpy(&last[1], q + n - 4, 4);
    return first[0] == first[1] && last[0] == last[1];
  }
  if (n > 0 && n < 4) return p[0] == q[0] && p[n / 2] == q[n / 2] && p[n - 1] == q[n - 1];
  return std::memcmp(p, q, n) == 0;
}

inline uint64_t random_seed() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

/// Smallest power of two that keeps `count` entries at most `percent` dense; at least 16.
inline size_t table_slots(size_t count, size_t percent) noexcept {
  size_t slots = 16;
  while (slots * percent / 100 < count) slots *= 2;
  return slots;
}

}  // namespace kvasir::text
