#include "core/engine/kv_pages.h"

#include <algorithm>
#include <utility>

namespace kvasir {
namespace {

uint32_t pages_for(uint64_t tokens) noexcept {
  return static_cast<uint32_t>((tokens + kPageTokens - 1) / kPageTokens);
}

}  // namespace

KvPages::KvPages(KvPagesConfig config) : config_(std::move(config)) {
  const bool all_full = std::ranges::all_of(config_.groups, [](const KvGroupConfig& g) { return g.window == 0; });
  config_.prefix_reuse = config_.prefix_reuse && all_full && config_.state_slots == 0 && !config_.groups.empty();
  for (const KvGroupConfig& group : config_.groups) {
    Group state;
    state.free.resize(group.pages);
    // Popped from the back: low pages first, so that a quiet engine touches little memory.
    for (uint32_t i = 0; i < group.pages; ++i) state.free[i] = group.pages - 1 - i;
    state.refs.assign(group.pages, 0);
    state.credits.assign(group.pages, 0);
    state.node.assign(group.pages, kRootNode);
    groups_.push_back(std::move(state));
  }
  for (uint32_t slot = config_.state_slots; slot > 0; --slot) free_states_.push_back(slot - 1);
}

uint32_t KvPages::limit(uint32_t group, uint32_t max_tokens) const noexcept {
  const uint32_t all = pages_for(max_tokens);
  const uint32_t window = config_.groups[group].window;
  if (window == 0) return all;
  // A step of n rows starting anywhere touches window - 1 + n slots: one page more than they would fill aligned.
  return std::min(all, pages_for(uint64_t{window} + config_.max_step_rows) + 1);
}

bool KvPages::can_ever_hold(uint32_t max_tokens) const noexcept {
  for (uint32_t g = 0; g < groups_.size(); ++g) {
    if (limit(g, max_tokens) > config_.groups[g].pages) return false;
  }
  return true;
}

uint32_t KvPages::available(uint32_t group) const noexcept {
  const Group& state = groups_[group];
  return static_cast<uint32_t>(state.free.size() + index_.idle_count() + idle_base_pages_ - state.promised);
}

bool KvPages::room(const std::vector<uint32_t>& wanted, size_t revived) const {
  for (uint32_t g = 0; g < groups_.size(); ++g) {
    if (wanted[g] + revived > available(g)) return false;
  }
  return true;
}

std::vector<PageNodeId> KvPages::match(const ChainHash& root, std::span<const TokenId> tokens, size_t pages) const {
  std::vector<PageNodeId> chain;
  if (!config_.prefix_reuse) return chain;
  PageNodeId parent = kRootNode;
  for (size_t i = 0; i < pages; ++i) {
    const auto next = index_.find(parent, root, tokens.subspan(i * kPageTokens, kPageTokens));
    if (!next) break;
    chain.push_back(parent = *next);
  }
  return chain;
}

uint32_t KvPages::cached_tokens(const ChainHash& root, std::span<const TokenId> tokens, uint32_t base_tokens) const {
  if (base_tokens > 0 && (!has_base(root) || base_tokens > tokens.size())) return 0;
  tokens = tokens.subspan(base_tokens);
  return base_tokens + static_cast<uint32_t>(match(root, tokens, tokens.size() / kPageTokens).size()) * kPageTokens;
}

KvPages::PartialPage KvPages::partial_page(const PageTable& table, std::span<const TokenId> tokens) const {
  if (!config_.prefix_reuse || table.length % kPageTokens != 0 || tokens.size() < table.length + 2) return {};
  if (table.base_tokens / kPageTokens + table.chain_.size() != table.length / kPageTokens) return {};
  const auto rest = tokens.subspan(table.length, std::min<size_t>(kPageTokens, tokens.size() - 1 - table.length));
  const PageNodeId parent = table.chain_.empty() ? kRootNode : table.chain_.back();
  const PrefixIndex::Partial found = index_.longest_partial(parent, table.root, rest);
  if (found.tokens == 0) return {};
  return {.pages = index_.node(found.node).pages, .rows = found.tokens};
}

bool KvPages::open(PageTable& table, std::span<const TokenId> tokens, uint32_t max_tokens) {
  // The last token is always computed: its logits are what the request is about.
  const auto base = table.base_tokens > 0 ? bases_.find(table.root) : bases_.end();
  if (table.base_tokens > 0 && (base == bases_.end() || base->second.entries.size() * kPageTokens != table.base_tokens)) {
    return false;
  }
  const std::span<const TokenId> rest = tokens.subspan(std::min<size_t>(table.base_tokens, tokens.size()));
  std::vector<PageNodeId> chain = match(table.root, rest, rest.empty() ? 0 : (rest.size() - 1) / kPageTokens);
  const auto shared = static_cast<uint32_t>(table.base_tokens / kPageTokens + chain.size());
  size_t revived = static_cast<size_t>(std::ranges::count_if(chain, [&](PageNodeId id) { return index_.node(id).idle; }));
  if (base != bases_.end() && base->second.users == 0) revived += base->second.pages.size();
  std::vector<uint32_t> limits(groups_.size());
  std::vector<uint32_t> wanted(groups_.size());
  for (uint32_t g = 0; g < groups_.size(); ++g) {
    limits[g] = limit(g, max_tokens);
    wanted[g] = limits[g] - std::min(limits[g], shared);
  }
  if (!room(wanted, revived) || (config_.state_slots > 0 && free_states_.empty())) return false;
  table.pages.assign(groups_.size(), {});
  table.held_.assign(groups_.size(), shared);
  table.limit_ = limits;
  for (uint32_t g = 0; g < groups_.size(); ++g) groups_[g].promised += wanted[g];
  if (base != bases_.end()) {
    use_base(table.root);
    table.pages[0] = base->second.entries;
  }
  for (const PageNodeId id : chain) {
    for (uint32_t g = 0; g < groups_.size(); ++g) {
      const PageId page = index_.node(id).pages[g];
      table.pages[g].push_back(page);
      reference(g, page);
    }
  }
  table.chain_ = std::move(chain);
  table.length = table.reused = shared * kPageTokens;
  if (config_.state_slots > 0) {
    table.state_slot = free_states_.back();
    free_states_.pop_back();
  }
  table.open = true;
  return true;
}

PageId KvPages::take(uint32_t group) {
  if (groups_[group].free.empty()) {
    if (const auto freed = index_.evict()) {
      for (uint32_t g = 0; g < groups_.size(); ++g) {
        groups_[g].node[(*freed)[g]] = kRootNode;
        groups_[g].free.push_back((*freed)[g]);
      }
    } else {
      evict_base();
    }
  }
  const PageId page = groups_[group].free.back();
  groups_[group].free.pop_back();
  return page;
}

void KvPages::reference(uint32_t group, PageId page) {
  Group& state = groups_[group];
  if (state.refs[page]++ == 0 && group == 0 && state.node[page] != kRootNode) index_.set_idle(state.node[page], false);
}

void KvPages::release(uint32_t group, PageId page) {
  Group& state = groups_[group];
  const uint32_t refs = --state.refs[page];
  if (refs > 0) {
    // The last holder writes in place: one promised copy fewer.
    if (state.credits[page] >= refs) {
      --state.credits[page];
      --state.promised;
    }
    return;
  }
  if (state.node[page] == kRootNode) {
    state.free.push_back(page);
  } else if (group == 0) {
    index_.set_idle(state.node[page], true);
  }
}

void KvPages::drop_passed(PageTable& table, uint32_t group) {
  const uint32_t window = config_.groups[group].window;
  if (window == 0 || table.length + 1 <= window) return;
  const uint32_t first_page = (table.length + 1 - window) / kPageTokens;
  auto& pages = table.pages[group];
  for (uint32_t i = std::min(first_page, static_cast<uint32_t>(pages.size())); i > 0 && pages[i - 1] != kNoPage; --i) {
    release(group, pages[i - 1]);
    pages[i - 1] = kNoPage;
    --table.held_[group];
    ++groups_[group].promised;
  }
}

void KvPages::copy_on_write(PageTable& table, uint32_t group, std::vector<PageCopy>& copies) {
  if (table.length % kPageTokens == 0) return;
  PageId& tail = table.pages[group][table.length / kPageTokens];
  if (groups_[group].refs[tail] < 2) return;
  const PageId fresh = take(group);
  copies.push_back({group, tail, fresh});
  groups_[group].refs[fresh] = 1;
  release(group, tail);  // also spends the credit that paid for the copy
  tail = fresh;
}

void KvPages::extend(PageTable& table, uint32_t count, std::vector<PageCopy>& copies) {
  for (uint32_t g = 0; g < groups_.size(); ++g) {
    drop_passed(table, g);
    copy_on_write(table, g, copies);
    auto& pages = table.pages[g];
    while (pages.size() < pages_for(uint64_t{table.length} + count)) {
      const PageId page = take(g);
      groups_[g].refs[page] = 1;
      pages.push_back(page);
      ++table.held_[g];
      --groups_[g].promised;
    }
  }
}

void KvPages::commit(PageTable& table, uint32_t count, std::span<const TokenId> tokens) {
  table.length += count;
  if (config_.prefix_reuse) publish(table, tokens);
}

void KvPages::publish(PageTable& table, std::span<const TokenId> tokens) {
  const size_t base_pages = table.base_tokens / kPageTokens;
  while ((base_pages + table.chain_.size() + 1) * kPageTokens <= table.length) {
    const size_t i = base_pages + table.chain_.size();
    const auto page_tokens = tokens.subspan(i * kPageTokens, kPageTokens);
    const PageNodeId parent = table.chain_.empty() ? kRootNode : table.chain_.back();
    if (const auto known = index_.find(parent, table.root, page_tokens)) {
      // Somebody computed the same page: bit for bit the same (decisions.md 9), so one copy is enough.
      for (uint32_t g = 0; g < groups_.size(); ++g) {
        const PageId shared = index_.node(*known).pages[g];
        reference(g, shared);
        release(g, std::exchange(table.pages[g][i], shared));
      }
      table.chain_.push_back(*known);
      continue;
    }
    std::vector<PageId> pages;
    for (uint32_t g = 0; g < groups_.size(); ++g) pages.push_back(table.pages[g][i]);
    const PageNodeId id = index_.insert(parent, table.root, page_tokens, pages);
    for (uint32_t g = 0; g < groups_.size(); ++g) groups_[g].node[pages[g]] = id;
    table.chain_.push_back(id);
  }
}

bool KvPages::fork(const PageTable& from, PageTable& to, uint32_t max_tokens) {
  const bool partial = from.length % kPageTokens != 0;
  const uint32_t used = pages_for(from.length);
  std::vector<uint32_t> limits(groups_.size());
  std::vector<uint32_t> credits(groups_.size());
  std::vector<uint32_t> wanted(groups_.size());
  for (uint32_t g = 0; g < groups_.size(); ++g) {
    uint32_t held = 0;
    for (uint32_t i = 0; i < used; ++i) held += from.pages[g][i] != kNoPage ? 1 : 0;
    limits[g] = std::max(limit(g, max_tokens), held);
    // Where a window passes, each side gives its page back and takes another one: every shared page needs a credit.
    credits[g] = config_.groups[g].window > 0 ? held : (partial ? 1 : 0);
    wanted[g] = limits[g] - held + credits[g];
  }
  if (!room(wanted, 0) || (config_.state_slots > 0 && free_states_.empty())) return false;
  to.root = from.root;
  to.base_tokens = from.base_tokens;
  if (from.base_tokens > 0) use_base(from.root);
  const size_t base_pages = from.base_tokens / kPageTokens;
  to.length = to.reused = from.length;
  to.chain_ = from.chain_;
  to.limit_ = limits;
  to.pages.assign(groups_.size(), {});
  to.held_.assign(groups_.size(), 0);
  for (uint32_t g = 0; g < groups_.size(); ++g) {
    to.pages[g].assign(from.pages[g].begin(), from.pages[g].begin() + used);
    for (size_t i = used; i > 0; --i) {
      const PageId page = to.pages[g][i - 1];
      if (page == kNoPage) continue;
      if (i > base_pages) reference(g, page);
      if (to.held_[g]++ < credits[g]) ++groups_[g].credits[page];
    }
    groups_[g].promised += wanted[g];
  }
  if (config_.state_slots > 0) {
    to.state_slot = free_states_.back();
    free_states_.pop_back();
  }
  to.open = true;
  return true;
}

void KvPages::close(PageTable& table) {
  if (!table.open) return;
  for (uint32_t g = 0; g < groups_.size(); ++g) {
    // From the back, so that of an idle chain the end counts as older than the beginning.
    for (size_t i = table.pages[g].size(); i > table.base_tokens / kPageTokens; --i) {
      if (table.pages[g][i - 1] != kNoPage) release(g, table.pages[g][i - 1]);
    }
    groups_[g].promised -= table.limit_[g] - table.held_[g];
  }
  if (table.base_tokens > 0) leave_base(table.root);
  if (config_.state_slots > 0) free_states_.push_back(table.state_slot);
  const ChainHash root = table.root;
  const uint32_t base_tokens = table.base_tokens;
  table = PageTable{};
  table.root = root;
  table.base_tokens = base_tokens;
}

bool KvPages::consistent(std::span<const PageTable* const> live) const {
  if (!index_.consistent()) return false;
  if (config_.state_slots > 0 && free_states_.size() + live.size() != config_.state_slots) return false;
  std::vector<uint8_t> in_base;
  if (!bases_consistent(live, in_base)) return false;
  for (uint32_t g = 0; g < groups_.size(); ++g) {
    const Group& state = groups_[g];
    std::vector<uint32_t> refs(config_.groups[g].pages, 0);
    uint64_t promised = 0;
    for (const PageTable* table : live) {
      uint32_t held = table->base_tokens / kPageTokens;
      for (const PageId page : std::span(table->pages[g]).subspan(held)) {
        if (page == kNoPage) continue;
        ++refs[page];
        ++held;
      }
      if (held != table->held_[g] || held > table->limit_[g]) return false;
      promised += table->limit_[g] - held;
    }
    for (const uint32_t credits : state.credits) promised += credits;
    if (refs != state.refs || promised != state.promised) return false;
    if (promised > state.free.size() + index_.idle_count() + idle_base_pages_) return false;
    std::vector<uint8_t> is_free(refs.size(), 0);
    for (const PageId page : state.free) {
      if (std::exchange(is_free[page], 1) != 0) return false;
    }
    for (PageId page = 0; page < refs.size(); ++page) {
      const bool unused = refs[page] == 0 && state.node[page] == kRootNode && (g != 0 || in_base[page] == 0);
      if (unused != (is_free[page] != 0)) return false;
      if (state.credits[page] > 0 && state.credits[page] >= refs[page]) return false;
      if (g == 0 && state.node[page] != kRootNode && index_.node(state.node[page]).idle != (refs[page] == 0)) return false;
    }
  }
  return true;
}

}  // namespace kvasir
