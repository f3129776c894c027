// Pages of sessions to the block store and back: written behind when a turn ends, read when a sequence gets its pages.
// Pages of parked sequences: those of sessions the same way, of others to main memory only (they never reach a disk).
// A page that cannot be had is computed; why is said in the result. The base of a compressed context comes first in the
// chain of keys, then the pages computed behind it.
#include <algorithm>
#include <utility>

#include "core/base/log.h"
#include "core/engine/engine_instance.h"
#include "core/engine/kv_block_store.h"

namespace kvasir {
namespace {

/// A session's turn: its pages go to the disk.
const Generate* session_of(const Work& work) {
  const auto* generate = std::get_if<Generate>(&work);
  return generate != nullptr && !generate->cache_owner.empty() ? generate : nullptr;
}

/// Whose pages may come from the disk; nobody's: empty.
std::string owner_of(const Work& work) {
  return std::visit(
      [](const auto& body) -> std::string {
        if constexpr (requires { body.cache_owner; }) return body.cache_owner;
        return {};
      },
      work);
}

/// The keys of a base's pages, as many as it takes in the pool.
std::vector<std::string> base_keys(KvBlockStore& blocks, std::string key, std::span<const TokenId> tokens, uint32_t parts) {
  std::vector<std::string> out;
  for (size_t at = 0; at < tokens.size(); at += size_t{parts} * kPageTokens) {
    key = blocks.next(key, tokens.subspan(at, std::min(size_t{parts} * kPageTokens, tokens.size() - at)));
    out.push_back(key);
  }
  return out;
}

}  // namespace

std::string EngineInstance::block_identity(const std::string& salt, std::span<const ContextStage> stages) const {
  return cache_identity_ + '|' + std::to_string(context_) + '|' + salt + stages_identity(stages);
}

void EngineInstance::park_pages(SeqId serial) {
  const auto request = requests_.find(serial);
  if (request == requests_.end()) return;
  ++request->second.parked;
  counters_.parked.fetch_add(1, std::memory_order_relaxed);
  // KV that depends on its path, and contexts on the way to a compressed one, are computed again.
  if (!scheduler_->kv().config().prefix_reuse || !scheduler_->in_last_stage(serial)) return;
  if (environment_.kv_blocks() != nullptr && session_of(request->second.work) != nullptr) {
    return save_pages(serial, request->second, Pages::kAll);
  }
  const PageTable& table = scheduler_->pages(serial);
  for (size_t page = table.base_tokens / kPageTokens;
       (page + 1) * kPageTokens <= table.length && parked_.has_room(block_.size()); ++page) {
    if (!parked_.find(serial, page).empty()) continue;
    std::vector<PageId> pages;
    for (const auto& group : table.pages) pages.push_back(group[page]);
    std::vector<std::byte> bytes(block_.size());
    if (!runner_->export_pages(pages, bytes)) return;
    parked_.keep(serial, page, std::move(bytes));
  }
}

/// Parked pages, from the first on that is not in memory any more.
void EngineInstance::unpark_pages(SeqId serial) {
  while (scheduler_->in_last_stage(serial)) {
    const size_t page = scheduler_->computed_tokens(serial) / kPageTokens;
    const auto bytes = parked_.find(serial, page);
    if (bytes.empty()) break;
    const bool taken = scheduler_->restore_page(
        serial, kPageTokens, [&](const std::vector<PageId>& pages) { return runner_->import_pages(pages, bytes).has_value(); });
    if (!taken) break;
  }
  parked_.forget(serial);
}

/// From wherever they are: parked, then disk, then what other sequences have of the page where they went on otherwise.
void EngineInstance::restore_pages(SeqId serial) {
  if (!scheduler_->kv().config().prefix_reuse) return;
  unpark_pages(serial);
  load_pages(serial);
  const KvPages::PartialPage begun = scheduler_->partial_page(serial);
  if (begun.rows == 0) return;
  (void)scheduler_->restore_page(serial, begun.rows, [&](const std::vector<PageId>& pages) {
    return runner_->copy_pages(begun.pages, pages).has_value();
  });
}

void EngineInstance::load_pages(SeqId serial) {
  KvBlockStore* blocks = environment_.kv_blocks();
  const auto request = requests_.find(serial);
  if (blocks == nullptr || request == requests_.end() || owner_of(request->second.work).empty()) return;
  const std::span<const TokenId> tokens = scheduler_->tokens(serial);
  const auto load = [&](const std::string& key, uint32_t rows) {
    auto loaded = blocks->load(key, block_);
    if (!loaded && loaded.error().code != Code::kNotFound) request->second.cache_note = loaded.error().message;
    const bool taken = loaded && scheduler_->restore_page(serial, rows, [&](const std::vector<PageId>& pages) {
      return runner_->import_pages(pages, block_).has_value();
    });
    if (taken && scheduler_->in_last_stage(serial)) request->second.loaded_tokens += rows;
    return taken;
  };
  const auto stages = std::span(request->second.stages).first(scheduler_->stage(serial));
  const uint32_t base = scheduler_->pages(serial).base_tokens;
  std::string key = blocks->root(block_identity(cache_salt_of(request->second.work), stages));
  if (base > 0) key = base_keys(*blocks, key, tokens.first(base), parts_of(stages.back().edit)).back();
  size_t at = base;
  for (; at + kPageTokens < tokens.size(); at += kPageTokens) {
    const std::string next = blocks->next(key, tokens.subspan(at, kPageTokens));
    if (at >= scheduler_->computed_tokens(serial) && !load(next, kPageTokens)) break;
    key = next;
  }
  if (at != scheduler_->computed_tokens(serial)) return;
  // Where an earlier turn ended inside a page.
  for (auto rows = static_cast<uint32_t>(std::min<size_t>(kPageTokens - 1, tokens.size() - 1 - at)); rows > 0; --rows) {
    const std::string tail = blocks->next(key, tokens.subspan(at, rows));
    if (blocks->contains(tail)) return void(load(tail, rows));
  }
}

void EngineInstance::restore_base(Request& request, const SeqRequest& sequence) {
  KvBlockStore* blocks = environment_.kv_blocks();
  if (blocks == nullptr || owner_of(request.work).empty()) return;
  const uint32_t parts = parts_of(request.stages.back().edit);
  const auto tokens = std::span<const TokenId>(sequence.tokens).first(sequence.base_tokens);
  const auto keys =
      base_keys(*blocks, blocks->root(block_identity(cache_salt_of(request.work), request.stages)), tokens, parts);
  if (!std::ranges::all_of(keys, [&](const std::string& key) { return blocks->contains(key); })) return;
  const auto entries = scheduler_->add_base(sequence.root, sequence.base_tokens, parts, {});
  if (!entries) return;
  for (size_t i = 0; i < keys.size(); ++i) {
    auto loaded = blocks->load(keys[i], block_);
    if (loaded) loaded = runner_->import_pages({pool_page((*entries)[i * parts])}, block_);
    if (loaded) continue;
    request.cache_note = loaded.error().message;
    return scheduler_->drop_base(sequence.root);
  }
  request.loaded_tokens += sequence.base_tokens;
}

void EngineInstance::save_base(const std::string& owner, const std::string& salt, std::span<const ContextStage> stages,
                               std::span<const TokenId> tokens) {
  KvBlockStore* blocks = environment_.kv_blocks();
  if (blocks == nullptr || owner.empty() || stages.empty()) return;
  const uint32_t parts = parts_of(stages.back().edit);
  const std::vector<PageId> entries = scheduler_->kv().base_entries(cache_root(salt, stages));
  if (entries.empty()) return;
  const auto keys = base_keys(*blocks, blocks->root(block_identity(salt, stages)), tokens, parts);
  for (size_t i = 0; i < keys.size(); ++i) {
    std::vector<std::byte> bytes;
    if (!blocks->contains(keys[i])) {
      bytes.resize(block_.size());
      if (!runner_->export_pages({pool_page(entries[i * parts])}, bytes)) return;
    }
    blocks->save({owner, salt, keys[i], KvBlockKind::kWhole, std::move(bytes)});
  }
}

void EngineInstance::save_pages(SeqId serial, const Request& request, Pages which) {
  KvBlockStore* blocks = environment_.kv_blocks();
  const Generate* generate = session_of(request.work);
  if (blocks == nullptr || generate == nullptr || !scheduler_ || !scheduler_->contains(serial)) return;
  if (!scheduler_->kv().config().prefix_reuse || !scheduler_->in_last_stage(serial)) return;
  const PageTable& table = scheduler_->pages(serial);
  const std::span<const TokenId> tokens = scheduler_->tokens(serial);
  std::string key = blocks->root(block_identity(generate->cache_salt, request.stages));
  if (table.open && table.base_tokens > 0) {
    const auto base = tokens.first(table.base_tokens);
    save_base(generate->cache_owner, generate->cache_salt, request.stages, base);
    key = base_keys(*blocks, key, base, parts_of(request.stages.back().edit)).back();
  }
  for (size_t at = table.base_tokens; table.open && at < table.length; at += kPageTokens) {
    const auto rows = std::min<size_t>(kPageTokens, table.length - at);
    if (rows < kPageTokens && which == Pages::kWhole) return;
    key = blocks->next(key, tokens.subspan(at, rows));
    std::vector<std::byte> bytes;
    if (!blocks->contains(key)) {
      std::vector<PageId> pages;
      for (const auto& group : table.pages) pages.push_back(group[at / kPageTokens]);
      bytes.resize(block_.size());
      if (!runner_->export_pages(pages, bytes)) return;
    }
    const auto kind = rows < kPageTokens ? KvBlockKind::kTail : KvBlockKind::kWhole;
    blocks->save({generate->cache_owner, generate->cache_salt, key, kind, std::move(bytes)});
  }
}

}  // namespace kvasir
