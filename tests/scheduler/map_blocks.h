// A block store in a map, whose keys can be read.
#pragma once

#include <algorithm>
#include <map>
#include <mutex>
#include <string>

#include "core/engine/kv_block_store.h"

namespace kvasir::test {

class MapBlocks final : public KvBlockStore {
 public:
  std::string root(std::string_view identity) override { return std::string(identity); }
  std::string next(const std::string& parent, std::span<const TokenId> tokens) override {
    std::string key = parent + '/';
    for (const TokenId id : tokens) key += std::to_string(id) + ',';
    return key;
  }
  bool contains(const std::string& key) override {
    const std::lock_guard lock(mutex_);
    return pages.contains(key);
  }
  Result<void> load(const std::string& key, std::span<std::byte> into) override {
    const std::lock_guard lock(mutex_);
    const auto found = pages.find(key);
    if (found == pages.end()) return Failure{Code::kNotFound, "not here"};
    if (found->second.size() != into.size()) return Failure{Code::kCorrupt, "a stored block of KV was damaged"};
    std::ranges::copy(found->second, into.begin());
    ++loads;
    return {};
  }
  void save(KvBlock block) override {
    const std::lock_guard lock(mutex_);
    if (block.kind == KvBlockKind::kTail) ++tails_;
    owners[block.key] = block.owner;
    if (!block.bytes.empty()) pages[block.key] = std::move(block.bytes);
  }

  size_t size() {
    const std::lock_guard lock(mutex_);
    return pages.size();
  }
  int tails() {
    const std::lock_guard lock(mutex_);
    return tails_;
  }

  std::map<std::string, std::vector<std::byte>> pages;
  std::map<std::string, std::string> owners;
  int loads = 0;

 private:
  int tails_ = 0;
  std::mutex mutex_;
};

}  // namespace kvasir::test
