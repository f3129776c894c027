#include "core/text/merge_table.h"

#include <algorithm>
#include <span>
#include <string_view>

#include "core/text/byte_hash.h"

namespace kvasir::text {

void MergeTable::insert(uint64_t key, uint32_t rank) noexcept {
  size_t at = slot_of(key);
  while (slots_[at] != kEmpty && slots_[at] >> kRankBits != key) at = (at + 1) & mask_;
  slots_[at] = key << kRankBits | rank;
}

namespace {

Failure complain(std::string_view name, size_t rank, std::string_view merge, const std::string& what) {
  return Failure{Code::kCorrupt, std::string(name) + "[" + std::to_string(rank) + "] " + quote_token(merge) + " " +
                                     what + "; the vocabulary is damaged, convert the model again"};
}

bool is_joined(std::string_view token, const MergePair& merge) {
  return token.size() == merge.left.size() + merge.right.size() &&
         equal_bytes(token.substr(0, merge.left.size()), merge.left) &&
         equal_bytes(token.substr(merge.left.size()), merge.right);
}

/// The token that a merge makes. Files list merges in the order of what they make, so it is nearly always the one of
/// the merge before, or the next.
TokenId find_joined(const TokenTable& table, const MergePair& merge, TokenId before) {
  for (const TokenId guess : {before, before + 1}) {
    if (guess >= 0 && static_cast<size_t>(guess) < table.size() && is_joined(table.text(guess), merge)) return guess;
  }
  return table.find(std::string(merge.left).append(merge.right));
}

}  // namespace

Result<HugeVector<MergePair>> split_merges(const std::vector<std::string>& merges) {
  HugeVector<MergePair> pairs;
  pairs.reserve(merges.size());
  for (const std::string_view merge : merges) {
    const size_t space = merge.find(' ', 1);
    if (space == std::string_view::npos || space + 1 == merge.size() ||
        merge.find(' ', space + 1) != std::string_view::npos) {
      return complain(VocabularyNames().merges, pairs.size(), merge, "is not two tokens with one space between");
    }
    pairs.push_back({merge.substr(0, space), merge.substr(space + 1)});
  }
  return pairs;
}

Result<MergeTable> MergeTable::create(const HugeVector<MergePair>& merges, const TokenTable& table,
                                      const VocabularyNames& names_of) {
  if (merges.size() > kMaxMerges) {
    return Failure{Code::kTooLarge, std::string(names_of.merges) + " has " + std::to_string(merges.size()) +
                                        " entries, more than the limit of " + std::to_string(kMaxMerges)};
  }
  if (table.size() > kMaxTokens) {
    return Failure{Code::kTooLarge, "a BPE vocabulary of " + std::to_string(table.size()) +
                                        " tokens is over the limit of " + std::to_string(kMaxTokens)};
  }
  MergeTable out;
  out.seed_ = random_seed();
  out.slots_.assign(table_slots(merges.size(), 60), kEmpty);
  out.mask_ = out.slots_.size() - 1;
  out.joined_.reserve(merges.size());
  constexpr size_t kBlock = 256;
  std::vector<std::string_view> names(2 * kBlock);
  std::vector<TokenId> ids(2 * kBlock);
  TokenId before = -1;
  for (size_t first = 0; first < merges.size(); first += kBlock) {
    const size_t count = std::min(kBlock, merges.size() - first);
    for (size_t i = 0; i < count; ++i) {
      names[2 * i] = merges[first + i].left;
      names[2 * i + 1] = merges[first + i].right;
    }
    table.find_many(std::span(names).first(2 * count), ids);
    for (size_t i = 0; i < count; ++i) {
      const MergePair& merge = merges[first + i];
      const TokenId joined = find_joined(table, merge, before);
      if (ids[2 * i] < 0 || ids[2 * i + 1] < 0 || joined < 0) {
        const std::string whole = std::string(merge.left).append(merge.right);
        const std::string_view missing = ids[2 * i] < 0 ? merge.left : ids[2 * i + 1] < 0 ? merge.right : whole;
        return complain(names_of.merges, first + i, std::string(merge.left).append(1, ' ').append(merge.right),
                        (missing == whole ? "makes " : "names ") + quote_token(missing) + ", which is no token");
      }
      out.joined_.push_back(before = joined);
      __builtin_prefetch(&out.slots_[out.slot_of(key_of(ids[2 * i], ids[2 * i + 1]))], 1);
    }
    for (size_t i = 0; i < count; ++i) {
      if (table.in_text(out.joined_[first + i]))
        out.insert(key_of(ids[2 * i], ids[2 * i + 1]), static_cast<uint32_t>(first + i));
    }
  }
  return out;
}

}  // namespace kvasir::text
