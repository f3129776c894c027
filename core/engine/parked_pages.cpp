#include "core/engine/parked_pages.h"

#include <utility>

namespace kvasir {

bool ParkedPages::keep(uint64_t sequence, size_t page, std::vector<std::byte> bytes) {
  if (!has_room(bytes.size())) return false;
  const size_t size = bytes.size();
  if (pages_[sequence].emplace(page, std::move(bytes)).second) bytes_ += size;
  return true;
}

std::span<const std::byte> ParkedPages::find(uint64_t sequence, size_t page) const {
  const auto pages = pages_.find(sequence);
  if (pages == pages_.end()) return {};
  const auto found = pages->second.find(page);
  return found == pages->second.end() ? std::span<const std::byte>() : found->second;
}

void ParkedPages::forget(uint64_t sequence) {
  const auto pages = pages_.find(sequence);
  if (pages == pages_.end()) return;
  for (const auto& [page, bytes] : pages->second) bytes_ -= bytes.size();
  pages_.erase(pages);
}

}  // namespace kvasir
