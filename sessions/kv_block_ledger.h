// What blocks there are, whose they are, and which were used least recently: the memory of kv_block_files.h, without a
// file. Not thread-safe; whoever owns it guards it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

namespace kvasir {

class KvBlockLedger {
 public:
  /// `whose`: of no one if empty. A block that is known already is used now, and of this size.
  void add(const std::string& key, uint64_t bytes, const std::string& whose);
  /// Only if it is known.
  void use(const std::string& key);
  void set_owner(const std::string& key, const std::string& whose);
  void remove(const std::string& key);

  bool contains(const std::string& key) const { return blocks_.contains(key); }
  uint64_t bytes() const noexcept { return total_; }
  uint64_t bytes_of(const std::string& whose) const;
  std::vector<std::string> keys() const;
  /// What must go, least recently used first, so that `wanted` more bytes stay within `most`: of everybody's blocks, or
  /// of one's own. A tenth of `most` more than needed, so that a full cache does not sort itself for every page.
  std::vector<std::string> victims(uint64_t wanted, uint64_t most) const { return victims(wanted, most, total_, nullptr); }
  std::vector<std::string> victims_of(const std::string& whose, uint64_t wanted, uint64_t most) const {
    return victims(wanted, most, bytes_of(whose), &whose);
  }

 private:
  struct Block {
    uint64_t bytes = 0;
    uint64_t used = 0;
    std::string whose;
  };
  std::vector<std::string> victims(uint64_t wanted, uint64_t most, uint64_t now, const std::string* whose) const;

  std::unordered_map<std::string, Block> blocks_;
  std::map<std::string, uint64_t> sums_;
  uint64_t total_ = 0, tick_ = 0;
};

}  // namespace kvasir
