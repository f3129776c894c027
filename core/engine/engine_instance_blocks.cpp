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
        serial, [&](const std::vector<PageId>& pages) { return runner_->import_pages(pages, bytes).has_value(); });
    if (!taken) break;
  }
  parked_.forget(serial);
}

void EngineInstance::restore_pages(SeqId serial) {
  unpark_pages(serial);
  KvBlockStore* blocks = environment_.kv_blocks();
  const auto request = requests_.find(serial);
  if (blocks == nullptr || request == requests_.end()) return;
  const Generate* generate = session_of(request->second.work);
  if (generate == nullptr || !scheduler_->kv().config().prefix_reuse) return;
  const std::span<const TokenId> tokens = scheduler_->tokens(serial);
  std::string key = blocks->root(block_identity(generate->cache_salt));
  for (size_t page = 0; (page + 1) * kPageTokens < tokens.size(); ++page) {
    key = blocks->next(key, tokens.subspan(page * kPageTokens, kPageTokens));
    if (page * kPageTokens < scheduler_->computed_tokens(serial)) continue;  // in memory
    auto loaded = blocks->load(key, block_);
    if (!loaded && loaded.error().code != Code::kNotFound) request->second.cache_note = loaded.error().message;
    if (!loaded) return;
    const bool taken = scheduler_->restore_page(
        serial, [&](const std::vector<PageId>& pages) { return runner_->import_pages(pages, block_).has_value(); });
    if (!taken) return;
    request->second.loaded_tokens += kPageTokens;
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
  for (size_t page = 0; table.open && (page + 1) * kPageTokens <= table.length; ++page) {
    key = blocks->next(key, tokens.subspan(page * kPageTokens, kPageTokens));
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
