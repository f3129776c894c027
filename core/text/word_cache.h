// Words met before and their ids: a table of pairs of slots that grows with use to a fixed size, so that the common
// words of a text are merged once. One cache belongs to one encode() at a time; what it holds only depends on the
// vocabulary.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "backends/backend.h"  // TokenId
#include "core/text/byte_hash.h"

namespace kvasir::text {

class WordCache {
 public:
  static constexpr size_t kMaxWordBytes = 22;
  static constexpr size_t kMaxIds = 9;
  static constexpr size_t kFirstSlots = 512;   ///< 64 bytes each: 32 KiB
  static constexpr size_t kMostSlots = 32768;  ///< 2 MiB

  /// A word as a table key: its bytes and its length in three machine words.
  struct Key {
    uint64_t a = 0, b = 0, c = 0;
    bool operator==(const Key&) const = default;
  };

  /// `word` of 1 to kMaxWordBytes bytes; `readable_end`: how far the memory behind it may be read.
  static Key key_of(std::string_view word, const char* readable_end) noexcept {
    std::array<uint64_t, 3> w{};
    if (readable_end - word.data() >= 24) {
      std::memcpy(w.data(), word.data(), 24);
      const auto bits = [&](size_t i) -> uint64_t {
        if (word.size() >= 8 * (i + 1)) return ~uint64_t{0};
        return word.size() <= 8 * i ? 0 : (uint64_t{1} << (8 * (word.size() - 8 * i))) - 1;
      };
      w[0] &= bits(0);
      w[1] &= bits(1);
      w[2] &= bits(2);
    } else {
      std::memcpy(w.data(), word.data(), word.size());
    }
    return {w[0], w[1], w[2] | uint64_t{word.size()} << 56};
  }

  WordCache() : slots_(kFirstSlots) {}

  /// The ids of the word, if it is known.
  std::span<const TokenId> find(const Key& key) const noexcept {
    const Slot* slot = &slots_[pair_of(key)];
    if (slot->key != key && (++slot)->key != key) return {};
    return {slot->ids.data(), slot->count};
  }
  void keep(const Key& key, std::span<const TokenId> ids) {
    if (ids.empty() || ids.size() > kMaxIds) return;
    if (++kept_ > slots_.size() && slots_.size() < kMostSlots) grow();
    Slot slot{key, static_cast<uint32_t>(ids.size())};
    std::copy(ids.begin(), ids.end(), slot.ids.begin());
    put(slot);
  }

 private:
  struct alignas(64) Slot {
    Key key;
    uint32_t count = 0;
    std::array<TokenId, kMaxIds> ids{};
  };
  static_assert(sizeof(Slot) == 64);
  /// Index of the first of two slots that may hold the key.
  size_t pair_of(const Key& key) const noexcept {
    return fold_multiply(key.a ^ kMixA, key.b ^ std::rotl(key.c, 29) ^ kMixB) & (slots_.size() - 2);
  }
  /// The newest is first of its pair, the one before second.
  void put(const Slot& slot) noexcept {
    Slot* const pair = &slots_[pair_of(slot.key)];
    pair[1] = pair[0];
    pair[0] = slot;
  }
  void grow() {
    std::vector<Slot> old(slots_.size() * 4);
    old.swap(slots_);
    kept_ = 0;
    for (const Slot& slot : old) {
      if (slot.count != 0) put(slot);
    }
  }
  std::vector<Slot> slots_;  ///< a power of two
  size_t kept_ = 0;          ///< since the last growth
};

}  // namespace kvasir::text
