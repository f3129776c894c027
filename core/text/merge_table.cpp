#include "core/text/merge_table.h"

#include <algorithm>
#include <span>
#include <string_view>

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

}  // namespace

Result<std::vector<MergePair>> split_merges(const std::vector<std::string>& merges) {
  std::vector<MergePair> pairs;
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

Result<MergeTable> MergeTable::create(const std::vector<MergePair>& merges, const TokenTable& table,
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
  std::string joined;
  std::vector<std::string_view> names(3 * kBlock);
  std::vector<TokenId> ids(3 * kBlock);
  for (size_t first = 0; first < merges.size(); first += kBlock) {
    const size_t count = std::min(kBlock, merges.size() - first);
    joined.clear();
    for (size_t i = 0; i < count; ++i) {
      names[3 * i] = merges[first + i].left;
      names[3 * i + 1] = merges[first + i].right;
      joined.append(names[3 * i]).append(names[3 * i + 1]);
    }
    const char* next = joined.data();
    for (size_t i = 0; i < count; ++i) {
      const size_t length = names[3 * i].size() + names[3 * i + 1].size();
      names[3 * i + 2] = {next, length};
      next += length;
    }
    table.find_many(std::span(names).first(3 * count), ids);
    for (size_t i = 0; i < count; ++i) {
      for (size_t side = 0; side < 3; ++side) {
        if (ids[3 * i + side] >= 0) continue;
        const MergePair& merge = merges[first + i];
        return complain(names_of.merges, first + i, std::string(merge.left).append(1, ' ').append(merge.right),
                        (side < 2 ? "names " : "makes ") + quote_token(names[3 * i + side]) + ", which is no token");
      }
      __builtin_prefetch(&out.slots_[out.slot_of(key_of(ids[3 * i], ids[3 * i + 1]))], 1);
    }
    for (size_t i = 0; i < count; ++i) {
      out.joined_.push_back(ids[3 * i + 2]);
      if (table.in_text(ids[3 * i + 2]))
        out.insert(key_of(ids[3 * i], ids[3 * i + 1]), static_cast<uint32_t>(first + i));
    }
  }
  return out;
}

}  // namespace kvasir::text
