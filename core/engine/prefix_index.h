// Which full pages hold which tokens: a trie of 64-token pages, each known by a chain of hashes over everything before
// it (decisions.md 7) and compared token by token, so that a hash collision can never serve foreign KV. Pages that
// nobody uses stay until memory is needed and go least recently used first. Pure; owned by KvPages; engine thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "backends/backend.h"

namespace kvasir {

/// Identity of everything up to the end of a page: (namespace, tokens so far). 128 bits of XXH3.
struct ChainHash {
  uint64_t low = 0, high = 0;
  bool operator==(const ChainHash&) const = default;
};
struct ChainHashOf {
  size_t operator()(const ChainHash& hash) const noexcept { return static_cast<size_t>(hash.low); }
};

/// Start of a chain: model fingerprint, numerics version, KV type, layout and principal salt, as one text.
ChainHash chain_root(std::string_view identity) noexcept;
/// The page after `parent` with these 64 tokens.
ChainHash chain_next(const ChainHash& parent, std::span<const TokenId> tokens) noexcept;

using PageNodeId = uint64_t;
inline constexpr PageNodeId kRootNode = 0;

class PrefixIndex {
 public:
  struct Node {
    PageNodeId parent = kRootNode;
    ChainHash before, hash;  ///< of everything up to this page, and with it
    std::array<TokenId, kPageTokens> tokens{};
    std::vector<PageId> pages;  ///< one per group
    uint32_t children = 0;
    bool idle = false;          ///< no sequence uses it
    uint64_t last_use = 0;
  };

  /// The child of `parent` with these tokens, if its KV is here.
  std::optional<PageNodeId> find(PageNodeId parent, const ChainHash& root, std::span<const TokenId> tokens) const;
  /// The child of `parent` that begins with the most of `tokens` (fewer than a page), and how many those are. Looks at
  /// kMostSiblings children at most.
  struct Partial {
    PageNodeId node = kRootNode;
    uint32_t tokens = 0;
  };
  Partial longest_partial(PageNodeId parent, const ChainHash& root, std::span<const TokenId> tokens) const;
  /// Adds what find() did not find. The node is in use.
  PageNodeId insert(PageNodeId parent, const ChainHash& root, std::span<const TokenId> tokens, std::vector<PageId> pages);
  const Node& node(PageNodeId id) const { return nodes_.at(id); }
  void set_idle(PageNodeId id, bool idle);
  /// Forgets the least recently used idle page that no other page continues; its pages are free then.
  std::optional<std::vector<PageId>> evict();
  size_t idle_count() const noexcept { return idle_; }
  size_t size() const noexcept { return nodes_.size(); }
  bool consistent() const;

 private:
  static constexpr size_t kMostSiblings = 256;

  ChainHash hash_after(PageNodeId parent, const ChainHash& root) const;
  void update_leaf(PageNodeId id);

  std::unordered_map<PageNodeId, Node> nodes_;
  std::unordered_map<ChainHash, PageNodeId, ChainHashOf> by_hash_;
  std::unordered_map<ChainHash, std::vector<PageNodeId>, ChainHashOf> children_of_;  // by the hash of their parent
  std::set<std::pair<uint64_t, PageNodeId>> idle_leaves_;  // by last use
  PageNodeId next_id_ = 1;
  uint64_t tick_ = 0;
  size_t idle_ = 0;
};

}  // namespace kvasir
