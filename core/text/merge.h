// Byte-pair merging of one word: the pair with the lowest rank is joined first, of equal ones the leftmost, until no
// pair has a rank. What a pair is worth is the caller's: a table of merges (BPE) or the score of the joined text (SPM).
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "backends/backend.h"  // TokenId

namespace kvasir::text {

/// A piece of the word: bytes [begin, begin + length) and its token (-1: none).
struct Symbol {
  TokenId id = -1;
  uint32_t begin = 0;
  uint32_t length = 0;
};

/// What joining two symbols gives. Lower ranks go first.
struct Join {
  static constexpr uint32_t kNever = UINT32_MAX;
  uint32_t rank = kNever;
  TokenId id = -1;
};

/// Work space, reused from word to word.
class Merger {
 public:
  /// Joins `symbols` in place. join(left, right) -> Join.
  /// Cost: n^2 steps over at most kShort symbols, O(n log n) calls of join beyond.
  template <class JoinPair>
  void merge(std::vector<Symbol>& symbols, const JoinPair& join) {
    if (symbols.size() < 2) return;
    if (symbols.size() <= kShort) {
      merge_short(symbols, join);
    } else {
      merge_long(symbols, join);
    }
  }

 private:
  static constexpr size_t kShort = 40;  // below, scanning for the minimum is faster than a heap

  template <class JoinPair>
  void merge_short(std::vector<Symbol>& symbols, const JoinPair& join) {
    Join joins[kShort];  // joins[i]: of symbols i and i + 1
    size_t count = symbols.size();
    Symbol* const s = symbols.data();
    for (size_t i = 0; i + 1 < count; ++i) joins[i] = join(s[i], s[i + 1]);
    while (count > 1) {
      size_t best = 0;
      for (size_t i = 1; i + 1 < count; ++i) {
        if (joins[i].rank < joins[best].rank) best = i;
      }
      if (joins[best].rank == Join::kNever) break;
      s[best].id = joins[best].id;
      s[best].length += s[best + 1].length;
      std::copy(s + best + 2, s + count, s + best + 1);
      std::copy(joins + best + 1, joins + count - 1, joins + best);
      --count;
      if (best > 0) joins[best - 1] = join(s[best - 1], s[best]);
      if (best + 1 < count) joins[best] = join(s[best], s[best + 1]);
    }
    symbols.resize(count);
  }

  template <class JoinPair>
  void merge_long(std::vector<Symbol>& symbols, const JoinPair& join) {
    constexpr uint32_t kNone = UINT32_MAX;
    const auto count = static_cast<uint32_t>(symbols.size());
    next_.resize(count);
    previous_.resize(count);
    heap_.clear();
    const auto offer = [&](uint32_t left, uint32_t right) {
      const Join j = join(symbols[left], symbols[right]);
      if (j.rank != Join::kNever) heap_.push_back({j.rank, left, symbols[left].length + symbols[right].length, j.id});
      return j.rank != Join::kNever;
    };
    for (uint32_t i = 0; i < count; ++i) {
      next_[i] = i + 1 < count ? i + 1 : kNone;
      previous_[i] = i > 0 ? i - 1 : kNone;
      if (i + 1 < count) offer(i, i + 1);
    }
    std::make_heap(heap_.begin(), heap_.end());
    while (!heap_.empty()) {
      std::pop_heap(heap_.begin(), heap_.end());
      const Candidate top = heap_.back();
      heap_.pop_back();
      const uint32_t left = top.left, right = next_[left];
      // Symbols only grow, so an unchanged sum of lengths means an unchanged pair; length 0 marks a joined one.
      if (symbols[left].length == 0 || right == kNone || symbols[left].length + symbols[right].length != top.length)
        continue;
      symbols[left].id = top.id;
      symbols[left].length = top.length;
      symbols[right].length = 0;
      next_[left] = next_[right];
      if (next_[left] != kNone) {
        previous_[next_[left]] = left;
        if (offer(left, next_[left])) std::push_heap(heap_.begin(), heap_.end());
      }
      if (previous_[left] != kNone && offer(previous_[left], left)) std::push_heap(heap_.begin(), heap_.end());
    }
    std::erase_if(symbols, [](const Symbol& symbol) { return symbol.length == 0; });
  }

  struct Candidate {
    uint32_t rank, left, length;
    TokenId id;
    bool operator<(const Candidate& other) const noexcept {  // std heaps keep the largest on top
      return rank != other.rank ? rank > other.rank : left > other.left;
    }
  };
  std::vector<uint32_t> next_, previous_;
  std::vector<Candidate> heap_;
};

}  // namespace kvasir::text
