// Words met before and their ids: a fixed direct-mapped table, so that the common words of a text are merged once.
// One cache belongs to one encode() at a time; what it holds only depends on the vocabulary.
#pragma once

#include <array>
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
  static constexpr size_t kSlots = 8192;  ///< 64 bytes each: 512 KiB

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

  WordCache() : slots_(kSlots) {}

  /// The ids of the word, if it is known.
  std::span<const TokenId> find(const Key& key) const noexcept {
    const Slot& slot = slots_[slot_of(key)];
    return slot.key == key ? std::span<const TokenId>(slot.ids.data(), slot.count) : std::span<const TokenId>();
  }
  void keep(const Key& key, std::span<const TokenId> ids) noexcept {
    if (ids.empty() || ids.size() > kMaxIds) return;
    Slot& slot = slots_[slot_of(key)];
    slot.key = key;
    slot.count = static_cast<uint32_t>(ids.size());
    std::copy(ids.begin(), ids.end(), slot.ids.begin());
  }

 private:
  struct alignas(64) Slot {
    Key key;
    uint32_t count = 0;
    std::array<TokenId, kMaxIds> ids{};
  };
  static_assert(sizeof(Slot) == 64);
  static size_t slot_of(const Key& key) noexcept {
    return fold_multiply(key.a ^ kMixA, key.b ^ (key.c * kMixB)) & (kSlots - 1);
  }
  std::vector<Slot> slots_;
};

}  // namespace kvasir::text
