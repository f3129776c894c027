#include "core/text/merge_table.h"

#include <array>

namespace kvasir::text {

void MergeTable::insert(uint64_t key, uint32_t rank) noexcept {
  size_t at = slot_of(key);
  while (slots_[at] != kEmpty && slots_[at] >> kRankBits != key) at = (at + 1) & mask_;
  slots_[at] = key << kRankBits | rank;
}

Result<MergeTable> MergeTable::create(const std::vector<std::string>& merges, const TokenTable& table) {
  if (merges.size() > kMaxMerges) {
    return Failure{Code::kTooLarge, "tokenizer.ggml.merges has " + std::to_string(merges.size()) +
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
  std::string joined;
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const std::string_view merge = merges[rank];
    const auto complain = [&](const std::string& what) {
      return Failure{Code::kCorrupt, "tokenizer.ggml.merges[" + std::to_string(rank) + "] " + quote_token(merge) + " " + what +
                                         "; the vocabulary is damaged, convert the model again"};
    };
    const size_t space = merge.find(' ', 1);
    if (space == std::string_view::npos || space + 1 == merge.size() || merge.find(' ', space + 1) != std::string_view::npos) {
      return complain("is not two tokens with one space between");
    }
    const std::array<std::string_view, 2> sides = {merge.substr(0, space), merge.substr(space + 1)};
    joined.assign(sides[0]).append(sides[1]);
    const std::array<TokenId, 3> ids = {table.find(sides[0]), table.find(sides[1]), table.find(joined)};
    if (ids[0] < 0 || ids[1] < 0) return complain("names " + quote_token(sides[ids[0] < 0 ? 0 : 1]) + ", which is no token");
    if (ids[2] < 0) return complain("makes " + quote_token(joined) + ", which is no token");
    out.joined_.push_back(ids[2]);
    if (table.in_text(ids[2])) out.insert(key_of(ids[0], ids[1]), static_cast<uint32_t>(rank));
  }
  return out;
}

}  // namespace kvasir::text
