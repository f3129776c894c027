#include "sessions/kv_block_ledger.h"

#include <algorithm>
#include <utility>

namespace kvasir {

void KvBlockLedger::add(const std::string& key, uint64_t bytes, const std::string& whose) {
  remove(key);
  blocks_[key] = {bytes, ++tick_, whose};
  sums_[whose] += bytes;
  total_ += bytes;
}

void KvBlockLedger::use(const std::string& key) {
  if (const auto block = blocks_.find(key); block != blocks_.end()) block->second.used = ++tick_;
}

void KvBlockLedger::set_owner(const std::string& key, const std::string& whose) {
  const auto block = blocks_.find(key);
  if (block == blocks_.end() || block->second.whose == whose) return;
  const Block moved = std::exchange(block->second, {block->second.bytes, block->second.used, whose});
  sums_[moved.whose] -= moved.bytes;
  sums_[whose] += moved.bytes;
}

void KvBlockLedger::remove(const std::string& key) {
  const auto block = blocks_.find(key);
  if (block == blocks_.end()) return;
  sums_[block->second.whose] -= block->second.bytes;
  total_ -= block->second.bytes;
  blocks_.erase(block);
}

uint64_t KvBlockLedger::bytes_of(const std::string& whose) const {
  const auto sum = sums_.find(whose);
  return sum == sums_.end() ? 0 : sum->second;
}

std::vector<std::string> KvBlockLedger::keys() const {
  std::vector<std::string> out;
  for (const auto& [key, block] : blocks_) out.push_back(key);
  return out;
}

std::vector<std::string> KvBlockLedger::victims(uint64_t wanted, uint64_t most, uint64_t now,
                                                const std::string* whose) const {
  std::vector<std::string> out;
  if (now + wanted <= most) return out;
  std::vector<std::pair<uint64_t, const std::string*>> oldest;
  for (const auto& [key, block] : blocks_) {
    if (whose == nullptr || block.whose == *whose) oldest.emplace_back(block.used, &key);
  }
  std::ranges::sort(oldest);
  const uint64_t goal = most - std::min(most, wanted + most / 10);
  for (const auto& [used, key] : oldest) {
    if (now <= goal) break;
    now -= blocks_.at(*key).bytes;
    out.push_back(*key);
  }
  return out;
}

}  // namespace kvasir
