// The ranked merges of a BPE vocabulary, as a flat table over pairs of ids: 8 bytes a slot.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/base/result.h"
#include "core/text/byte_hash.h"
#include "core/text/huge_pages.h"
#include "core/text/merge.h"
#include "core/text/token_table.h"

namespace kvasir::text {

/// The two tokens that a merge joins, borrowed from the vocabulary's file.
struct MergePair {
  std::string_view left, right;
};

/// From texts of two tokens with a space between. Errors: kCorrupt, naming the merge that has no or more spaces.
Result<HugeVector<MergePair>> split_merges(const std::vector<std::string>& merges);

class MergeTable {
 public:
  static constexpr size_t kMaxMerges = 4'000'000;
  static constexpr size_t kMaxTokens = (size_t{1} << 20) - 1;  ///< ids fit in 20 bits, and the last one is free

  /// In the order of rank. A pair that is there twice keeps its last
  /// rank, as in the tokenizers library. Merges into tokens that ordinary text may not become (control tokens) are left
  /// out. Errors: kCorrupt, naming the merge, where it has no or more separators, or names an absent token; kTooLarge.
  static Result<MergeTable> create(const HugeVector<MergePair>& merges, const TokenTable& table,
                                   const VocabularyNames& names = {});

  Join join(TokenId left, TokenId right) const noexcept {
    const uint64_t key = key_of(left, right);
    for (size_t at = slot_of(key);; at = (at + 1) & mask_) {
      const uint64_t slot = slots_[at];
      if (slot >> kRankBits == key) {
        const auto rank = static_cast<uint32_t>(slot & kRankMask);
        return {rank, joined_[rank]};
      }
      if (slot == kEmpty) return {};
    }
  }

 private:
  static constexpr unsigned kRankBits = 24;
  static constexpr uint64_t kRankMask = (uint64_t{1} << kRankBits) - 1;
  static constexpr uint64_t kEmpty = UINT64_MAX;

  static uint64_t key_of(TokenId left, TokenId right) noexcept {
    return uint64_t{static_cast<uint32_t>(left)} << 20 | static_cast<uint32_t>(right);
  }
  size_t slot_of(uint64_t key) const noexcept { return fold_multiply(key ^ seed_, kMixA) & mask_; }
  void insert(uint64_t key, uint32_t rank) noexcept;

  HugeVector<uint64_t> slots_;   ///< 40 bits of key, 24 of rank
  std::vector<TokenId> joined_;  ///< by rank
  uint64_t seed_ = 0;
  size_t mask_ = 0;
};

}  // namespace kvasir::text
