// Bases: what compressions left of contexts, as whole pages that come and go together (kv_pages.h).
#include <utility>

#include "core/engine/kv_pages.h"

namespace kvasir {

std::optional<std::vector<PageId>> KvPages::add_base(const ChainHash& root, uint32_t tokens, uint32_t parts, PageTable* from) {
  if (!config_.prefix_reuse || groups_.size() != 1 || parts == 0 || bases_.contains(root)) return std::nullopt;
  const uint32_t entries = tokens / kPageTokens;
  const uint32_t pages = (entries + parts - 1) / parts;
  Group& group = groups_[0];
  const bool promised = from != nullptr && from->open && from->limit_[0] - from->held_[0] >= pages;
  if (!promised && available(0) < pages) return std::nullopt;
  Base base;
  for (uint32_t i = 0; i < pages; ++i) base.pages.push_back(take(0));
  if (promised) {
    from->limit_[0] -= pages;
    group.promised -= pages;
  }
  for (uint32_t i = 0; i < entries; ++i) {
    base.entries.push_back(parts == 1 ? base.pages[i] : aged_page(base.pages[i / parts], i % parts));
  }
  base.last_use = ++base_tick_;
  idle_base_pages_ += pages;
  std::vector<PageId> out = base.entries;
  bases_.emplace(root, std::move(base));
  return out;
}

void KvPages::drop_base(const ChainHash& root) {
  const auto found = bases_.find(root);
  if (found == bases_.end() || found->second.users > 0) return;
  idle_base_pages_ -= found->second.pages.size();
  for (const PageId page : found->second.pages) groups_[0].free.push_back(page);
  bases_.erase(found);
}

std::vector<PageId> KvPages::base_entries(const ChainHash& root) const {
  const auto found = bases_.find(root);
  return found == bases_.end() ? std::vector<PageId>() : found->second.entries;
}

/// The idle one that was used longest ago. What was computed behind it stays in the index until its turn comes.
bool KvPages::evict_base() {
  auto oldest = bases_.end();
  for (auto it = bases_.begin(); it != bases_.end(); ++it) {
    if (it->second.users == 0 && (oldest == bases_.end() || it->second.last_use < oldest->second.last_use)) oldest = it;
  }
  if (oldest == bases_.end()) return false;
  drop_base(ChainHash(oldest->first));
  return true;
}

void KvPages::use_base(const ChainHash& root) {
  Base& base = bases_.at(root);
  if (base.users++ == 0) idle_base_pages_ -= base.pages.size();
}

void KvPages::leave_base(const ChainHash& root) {
  Base& base = bases_.at(root);
  if (--base.users > 0) return;
  base.last_use = ++base_tick_;
  idle_base_pages_ += base.pages.size();
}

bool KvPages::bases_consistent(std::span<const PageTable* const> live, std::vector<uint8_t>& in_base) const {
  std::unordered_map<ChainHash, uint32_t, ChainHashOf> users;
  for (const PageTable* table : live) users[table->root] += table->base_tokens > 0 ? 1 : 0;
  in_base.assign(groups_.empty() ? 0 : config_.groups[0].pages, 0);
  size_t idle_pages = 0;
  for (const auto& [root, base] : bases_) {
    if (base.users != users[root]) return false;
    if (base.users == 0) idle_pages += base.pages.size();
    for (const PageId page : base.pages) {
      if (std::exchange(in_base[page], uint8_t{1}) != 0) return false;
    }
  }
  return idle_pages == idle_base_pages_;
}

}  // namespace kvasir
