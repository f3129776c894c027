#include "core/engine/prefix_index.h"

#include <xxhash.h>

#include <algorithm>
#include <utility>

namespace kvasir {

ChainHash chain_root(std::string_view identity) noexcept {
  const XXH128_hash_t hash = XXH3_128bits(identity.data(), identity.size());
  return {hash.low64, hash.high64};
}

ChainHash chain_next(const ChainHash& parent, std::span<const TokenId> tokens) noexcept {
  std::array<uint64_t, 2 + kPageTokens / 2> bytes{parent.low, parent.high};
  static_assert(sizeof(TokenId) * kPageTokens + 2 * sizeof(uint64_t) == sizeof(bytes));
  std::copy_n(reinterpret_cast<const char*>(tokens.data()), sizeof(TokenId) * kPageTokens,
              reinterpret_cast<char*>(bytes.data() + 2));
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), sizeof(bytes));
  return {hash.low64, hash.high64};
}

ChainHash PrefixIndex::hash_after(PageNodeId parent, const ChainHash& root) const {
  return parent == kRootNode ? root : nodes_.at(parent).hash;
}

std::optional<PageNodeId> PrefixIndex::find(PageNodeId parent, const ChainHash& root, std::span<const TokenId> tokens) const {
  const auto found = by_hash_.find(chain_next(hash_after(parent, root), tokens));
  if (found == by_hash_.end()) return std::nullopt;
  const Node& candidate = nodes_.at(found->second);
  if (candidate.parent != parent || !std::ranges::equal(candidate.tokens, tokens)) return std::nullopt;
  return found->second;
}

PrefixIndex::Partial PrefixIndex::longest_partial(PageNodeId parent, const ChainHash& root,
                                                  std::span<const TokenId> tokens) const {
  Partial best;
  const auto children = children_of_.find(hash_after(parent, root));
  if (children == children_of_.end()) return best;
  const std::span<const PageNodeId> all = children->second;
  for (const PageNodeId id : all.last(std::min(all.size(), kMostSiblings))) {
    const Node& child = nodes_.at(id);
    if (child.parent != parent) continue;
    const auto differ = std::ranges::mismatch(tokens, child.tokens);
    const auto same = static_cast<uint32_t>(differ.in1 - tokens.begin());
    if (same > best.tokens) best = {id, same};
  }
  return best;
}

PageNodeId PrefixIndex::insert(PageNodeId parent, const ChainHash& root, std::span<const TokenId> tokens,
                               std::vector<PageId> pages) {
  const PageNodeId id = next_id_++;
  Node node;
  node.parent = parent;
  node.before = hash_after(parent, root);
  node.hash = chain_next(node.before, tokens);
  std::ranges::copy(tokens, node.tokens.begin());
  node.pages = std::move(pages);
  children_of_[node.before].push_back(id);
  by_hash_.insert_or_assign(node.hash, id);  // on a collision the older page is merely not found again
  nodes_.emplace(id, std::move(node));
  if (parent != kRootNode) {
    ++nodes_.at(parent).children;
    update_leaf(parent);
  }
  return id;
}

void PrefixIndex::update_leaf(PageNodeId id) {
  const Node& node = nodes_.at(id);
  const std::pair key(node.last_use, id);
  if (node.idle && node.children == 0) {
    idle_leaves_.insert(key);
  } else {
    idle_leaves_.erase(key);
  }
}

void PrefixIndex::set_idle(PageNodeId id, bool idle) {
  Node& node = nodes_.at(id);
  if (node.idle == idle) return;
  if (!idle) {
    idle_leaves_.erase({node.last_use, id});
    node.idle = false;
    --idle_;
    return;
  }
  node.idle = true;
  node.last_use = ++tick_;
  ++idle_;
  update_leaf(id);
}

std::optional<std::vector<PageId>> PrefixIndex::evict() {
  if (idle_leaves_.empty()) return std::nullopt;
  const PageNodeId id = idle_leaves_.begin()->second;
  idle_leaves_.erase(idle_leaves_.begin());
  auto entry = nodes_.extract(id);
  Node& node = entry.mapped();
  if (const auto known = by_hash_.find(node.hash); known != by_hash_.end() && known->second == id) by_hash_.erase(known);
  --idle_;
  const auto siblings = children_of_.find(node.before);
  std::erase(siblings->second, id);
  if (siblings->second.empty()) children_of_.erase(siblings);
  if (node.parent != kRootNode) {
    --nodes_.at(node.parent).children;
    update_leaf(node.parent);
  }
  return std::move(node.pages);
}

bool PrefixIndex::consistent() const {
  size_t idle = 0;
  std::unordered_map<PageNodeId, uint32_t> children;
  for (const auto& [id, node] : nodes_) {
    idle += node.idle ? 1 : 0;
    const auto siblings = children_of_.find(node.before);
    if (siblings == children_of_.end() || std::ranges::count(siblings->second, id) != 1) return false;
    if (node.parent == kRootNode) continue;
    const auto parent = nodes_.find(node.parent);
    if (parent == nodes_.end() || (parent->second.idle && !node.idle)) return false;
    ++children[node.parent];
  }
  if (idle != idle_) return false;
  return std::ranges::all_of(nodes_, [&](const auto& entry) {
    const auto& [id, node] = entry;
    const auto count = children.find(id);
    if (node.children != (count == children.end() ? 0 : count->second)) return false;
    return idle_leaves_.contains({node.last_use, id}) == (node.idle && node.children == 0);
  });
}

}  // namespace kvasir
