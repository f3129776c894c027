// Where pages of KV go that should outlive the engine's memory: a cache that may lose anything and never gives back
// anything wrong (decisions.md 5). The engine names a page by the chain of everything before it; what keeps the bytes
// is behind this interface (sessions/kv_block_files.h; tests bring a map). Thread-safe: every engine thread uses it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/backend.h"  // TokenId
#include "core/base/result.h"

namespace kvasir {

/// A tail is a page that had only begun when a turn ended: the next turn's replaces it.
enum class KvBlockKind : uint8_t { kWhole, kTail };

struct KvBlock {
  std::string owner;             ///< a session: forget(owner) deletes what only it saved
  std::string principal;         ///< whose session, and whose quota
  std::string key;
  KvBlockKind kind = KvBlockKind::kWhole;
  std::vector<std::byte> bytes;  ///< empty: the block is there, only its use is noted
};

class KvBlockStore {
 public:
  virtual ~KvBlockStore() = default;

  /// Start of a chain: model, numerics, KV layout and whose it is. The same identity gives the same key.
  virtual std::string root(std::string_view identity) = 0;
  /// The page of `tokens` behind `parent`. Keys are opaque; nobody can guess one without the store.
  virtual std::string next(const std::string& parent, std::span<const TokenId> tokens) = 0;

  virtual bool contains(const std::string& key) = 0;
  /// Fills `into`, exactly. Errors: kNotFound; kCorrupt (damaged, cut, exchanged: it is gone afterwards); kIo.
  virtual Result<void> load(const std::string& key, std::span<std::byte> into) = 0;
  /// Keeps the bytes if it can, later. Never blocks for a disk.
  virtual void save(KvBlock block) = 0;
};

}  // namespace kvasir
