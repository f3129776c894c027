// Who uses which KV page: page tables of sequences over a pool of 64-token pages per layer group, with reference
// counts, copy-on-write, reservations, windows and prefix reuse (decisions.md 6, 7). Pure bookkeeping: page contents
// live in the backend's KvPool, and copies are handed out as a list to perform. Owned by the scheduler; engine thread.
//
// A reservation promises every page that a sequence can ever need, so extend() cannot fail. What may be handed out is
// free pages plus idle pages of the prefix index minus promises. A page that several tables share is written only
// after a copy; the pages for such copies are promised by fork() as credits on the shared page.
//
// A *base* is what a compression left of a context (context_edit.h): whole pages, perhaps aged, that no table writes and
// that come and go as one, known by the chain root of everything computed behind them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "core/engine/prefix_index.h"

namespace kvasir {

struct KvGroupConfig {
  uint32_t pages = 0;
  uint32_t window = 0;  ///< tokens that a layer of this group looks back, itself included; 0: everything
};
struct KvPagesConfig {
  std::vector<KvGroupConfig> groups;
  uint32_t state_slots = 0;      ///< 0: the model has no recurrent state
  uint32_t max_step_rows = 256;  ///< rows of one sequence per extend() at most
  bool prefix_reuse = true;      ///< taken only where every group keeps everything and there is no recurrent state
};

struct PageCopy {
  uint32_t group = 0;
  PageId from = kNoPage, to = kNoPage;
};

/// The cache of one sequence. Filled and emptied by KvPages only; must be closed before it is destroyed.
struct PageTable {
  std::vector<std::vector<PageId>> pages;  ///< per group; kNoPage where the window has passed
  uint32_t length = 0;                     ///< slots whose KV is there
  uint32_t reused = 0;                     ///< of them attached from the prefix index when the table was opened
  uint32_t state_slot = 0;
  ChainHash root;                          ///< set before open(): whose pages may be shared
  uint32_t base_tokens = 0;                ///< set before open(): leading slots that are the base of this root
  bool open = false;

 private:
  friend class KvPages;
  std::vector<uint32_t> held_;   // pages in the table per group
  std::vector<uint32_t> limit_;  // pages it may come to hold per group
  std::vector<PageNodeId> chain_;  // index nodes of the leading full pages
};

class KvPages {
 public:
  explicit KvPages(KvPagesConfig config);

  /// Whether a sequence of so many tokens could run if it were alone.
  bool can_ever_hold(uint32_t max_tokens) const noexcept;
  /// Attaches the longest known prefix of `tokens` (whole pages, never the last token) and promises pages for
  /// `max_tokens` slots. False: not enough now, nothing changed.
  bool open(PageTable& table, std::span<const TokenId> tokens, uint32_t max_tokens);
  /// Makes slots [length, length + count) writable; frees what no later row looks at. Within the reservation it cannot
  /// fail. Copies must be done before the slots are written.
  void extend(PageTable& table, uint32_t count, std::vector<PageCopy>& copies);
  /// The KV of the next `count` slots is there. `tokens`: the whole sequence so far (at least length + count), by which
  /// full pages become known to others.
  void commit(PageTable& table, uint32_t count, std::span<const TokenId> tokens);
  /// The page of each group whose first rows are the next tokens of a sequence with only whole pages so far, and how many
  /// (never all that remain: the last token is computed). To be copied before anything else is taken. None: no rows.
  struct PartialPage {
    std::vector<PageId> pages;
    uint32_t rows = 0;
  };
  PartialPage partial_page(const PageTable& table, std::span<const TokenId> tokens) const;
  /// A second table on the same pages (its own recurrent state slot: the caller copies the state). False: no room.
  bool fork(const PageTable& from, PageTable& to, uint32_t max_tokens);
  void close(PageTable& table);

  bool has_base(const ChainHash& root) const { return bases_.contains(root); }
  /// Pages for a base of `tokens` rows, `parts` of its pages in one page of the pool (1: not aged), as entries of a page
  /// table. They are taken from what `from` was promised, or from what nobody was. Idle until a table opens it. Nothing:
  /// no room, or bases are not kept here (prefix_reuse), or there is one already.
  std::optional<std::vector<PageId>> add_base(const ChainHash& root, uint32_t tokens, uint32_t parts, PageTable* from);
  /// Forgets a base that could not be filled. Nobody may use it.
  void drop_base(const ChainHash& root);
  /// The entries of a base, or nothing.
  std::vector<PageId> base_entries(const ChainHash& root) const;

  /// Tokens of leading full pages whose KV is known under this root.
  uint32_t cached_tokens(const ChainHash& root, std::span<const TokenId> tokens, uint32_t base_tokens = 0) const;
  uint32_t total_pages(uint32_t group) const noexcept { return config_.groups[group].pages; }
  /// Pages that a new sequence could be promised.
  uint32_t available(uint32_t group) const noexcept;
  const PrefixIndex& index() const noexcept { return index_; }
  const KvPagesConfig& config() const noexcept { return config_; }
  /// Recomputes every count from `live`, all open tables. For tests and when idle.
  bool consistent(std::span<const PageTable* const> live) const;

 private:
  struct Group {
    std::vector<PageId> free;
    std::vector<uint32_t> refs;       // tables that hold the page
    std::vector<uint32_t> credits;    // copies promised for it
    std::vector<PageNodeId> node;     // its index node, or kRootNode
    uint64_t promised = 0;            // pages that tables may still take, and credits
  };

  uint32_t limit(uint32_t group, uint32_t max_tokens) const noexcept;
  bool room(const std::vector<uint32_t>& wanted, size_t revived) const;
  PageId take(uint32_t group);
  void reference(uint32_t group, PageId page);
  void release(uint32_t group, PageId page);
  void drop_passed(PageTable& table, uint32_t group);
  void copy_on_write(PageTable& table, uint32_t group, std::vector<PageCopy>& copies);
  void publish(PageTable& table, std::span<const TokenId> tokens);
  std::vector<PageNodeId> match(const ChainHash& root, std::span<const TokenId> tokens, size_t pages) const;

  struct Base {
    std::vector<PageId> entries;  // of a page table
    std::vector<PageId> pages;    // of the pool
    uint32_t users = 0;
    uint64_t last_use = 0;
  };
  bool evict_base();
  void use_base(const ChainHash& root);
  void leave_base(const ChainHash& root);
  bool bases_consistent(std::span<const PageTable* const> live, std::vector<uint8_t>& in_base) const;

  KvPagesConfig config_;
  std::vector<Group> groups_;
  std::unordered_map<ChainHash, Base, ChainHashOf> bases_;
  size_t idle_base_pages_ = 0;
  uint64_t base_tick_ = 0;
  std::vector<uint32_t> free_states_;
  PrefixIndex index_;
};

}  // namespace kvasir
