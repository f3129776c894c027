// KV pages as files: content-addressed, authenticated, written behind by a thread of their own. A cache: a block that
// is damaged, cut or exchanged is deleted and computed again, and what does not fit a limit goes, least recently used
// first. CHECKPOINT_FORMAT.md has the bytes. Thread-safe.
//
//   <folder>/secret            32 random bytes: keys of names and of authentication
//   <folder>/all/<64hex>.kvb   one page each
//   <folder>/by-session/<id>   names of the pages that a session saved or used, a line each
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/engine/kv_block_store.h"
#include "sessions/file_environment.h"

namespace kvasir {

struct KvBlockLimits {
  uint64_t max_bytes = 4ULL << 30;                ///< of all blocks
  uint64_t max_bytes_per_principal = 4ULL << 30;  ///< of one principal's: its own oldest ones make room
  uint64_t max_queued_bytes = 256u << 20;         ///< waiting to be written; more is dropped
};

class KvBlockFiles : public KvBlockStore {
 public:
  /// Errors: kIo, kTooLarge (the disk is full), kCorrupt (the secret), with the path. The engine then runs without
  /// blocks. Blocks that no session's list names are deleted by the thread, soon.
  static Result<std::unique_ptr<KvBlockFiles>> open(const std::string& folder, const KvBlockLimits& limits = {},
                                                    std::shared_ptr<FileEnvironment> files = system_files());

  /// Deletes what this session saved and no other one uses, from the disk too, also what is still queued. Returns the
  /// bytes.
  virtual uint64_t forget(const std::string& owner) = 0;
  /// Deletes the tails that a later turn of their session replaced (going back to such a turn then computes less than a
  /// page again), and takes what is gone out of the lists. Returns the bytes.
  virtual uint64_t drop_stale_tails() = 0;
  /// Every session with a list, also those that exist no more.
  virtual std::vector<std::string> owners() const = 0;
  /// Waits until everything queued is written.
  virtual void flush() = 0;
  virtual uint64_t bytes() const = 0;
  virtual uint64_t bytes_of(std::string_view principal) const = 0;
};

}  // namespace kvasir
