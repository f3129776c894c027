// Pages of sessions to the block store and back: written behind when a turn ends, read when a sequence gets its pages.
// Pages of parked sequences: those of sessions the same way, of others to main memory only (they never reach a disk).
// A page that cannot be had is computed; why is said in the result.
#include <utility>

#include "core/base/log.h"
#include "core/engine/engine_instance.h"
#include "core/engine/kv_block_store.h"

namespace kvasir {
namespace {

const Generate* session_of(const Work& work) {
  const auto* generate = std::get_if<Generate>(&work);
  return generate != nullptr && !generate->cache_owner.empty() ? generate : nullptr;
}

}  // namespace

std::string EngineInstance::block_identity(const std::string& salt) const {
  return cache_identity_ + '|' + std::to_string(context_) + '|' + salt;
}

void EngineInstance::park_pages(SeqId serial) {
  const auto request = requests_.find(serial);
  if (request == requests_.end()) return;
  ++request->second.parked;
  counters_.parked.fetch_add(1, std::memory_order_relaxed);
  if (!scheduler_->kv().config().prefix_reuse) return;  // KV that depends on its path is computed again
  if (environment_.kv_blocks() != nullptr && session_of(request->second.work) != nullptr) {
    return save_pages(serial, request->second);
  }
  const PageTable& table = scheduler_->pages(serial);
  for (size_t page = 0; (page + 1) * kPageTokens <= table.length && parked_.has_room(block_.size()); ++page) {
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
  for (;;) {
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
  if (blocks == nullptr || request == requests_.end()) return;
  const Generate* generate = session_of(request->second.work);
  if (generate == nullptr) return;
  const std::span<const TokenId> tokens = scheduler_->tokens(serial);
  const auto load = [&](const std::string& key, uint32_t rows) {
    auto loaded = blocks->load(key, block_);
    if (!loaded && loaded.error().code != Code::kNotFound) request->second.cache_note = loaded.error().message;
    const bool taken = loaded && scheduler_->restore_page(serial, rows, [&](const std::vector<PageId>& pages) {
      return runner_->import_pages(pages, block_).has_value();
    });
    if (taken) request->second.loaded_tokens += rows;
    return taken;
  };
  std::string key = blocks->root(block_identity(generate->cache_salt));
  size_t at = 0;
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

void EngineInstance::save_pages(SeqId serial, const Request& request) {
  KvBlockStore* blocks = environment_.kv_blocks();
  const Generate* generate = session_of(request.work);
  if (blocks == nullptr || generate == nullptr || !scheduler_ || !scheduler_->contains(serial)) return;
  if (!scheduler_->kv().config().prefix_reuse) return;
  const PageTable& table = scheduler_->pages(serial);
  const std::span<const TokenId> tokens = scheduler_->tokens(serial);
  std::string key = blocks->root(block_identity(generate->cache_salt));
  for (size_t page = 0; table.open && page * kPageTokens < table.length; ++page) {
    // The last page may have begun only; a later turn that ends elsewhere saves it anew.
    const size_t rows = std::min<size_t>(kPageTokens, table.length - page * kPageTokens);
    key = blocks->next(key, tokens.subspan(page * kPageTokens, rows));
    std::vector<std::byte> bytes;
    if (!blocks->contains(key)) {
      std::vector<PageId> pages;
      for (const auto& group : table.pages) pages.push_back(group[page]);
      bytes.resize(block_.size());
      if (!runner_->export_pages(pages, bytes)) return;
    }
    blocks->save(generate->cache_owner, key, std::move(bytes));
  }
}

}  // namespace kvasir
