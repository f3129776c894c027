// Which session saved or used which block: a file per session, a line per block (CHECKPOINT_FORMAT.md). Not thread-safe;
// whoever owns it guards it. Errors: those of the files, with the path.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/engine/kv_block_store.h"
#include "sessions/file_environment.h"

namespace kvasir {

struct ListedBlock {
  std::string key;
  bool tail = false;
};
struct OwnerList {
  std::string whose;                ///< tag of the principal; empty in lists of earlier builds
  std::vector<ListedBlock> blocks;  ///< in the order of their use; the last entry of a block only
  bool repeats = false;             ///< the file has more entries than that
};

class KvOwnerLists {
 public:
  KvOwnerLists(std::shared_ptr<FileEnvironment> files, std::string folder)
      : files_(std::move(files)), folder_(std::move(folder)) {}

  std::vector<std::string> owners() const;
  /// What is unreadable lists nothing.
  OwnerList read(const std::string& owner) const;
  Result<void> note(const std::string& owner, const std::string& whose, const std::string& key, KvBlockKind kind);
  Result<void> replace(const std::string& owner, const OwnerList& list);
  void remove(const std::string& owner);

 private:
  std::string path_of(const std::string& owner) const { return folder_ + '/' + owner; }

  std::shared_ptr<FileEnvironment> files_;
  std::string folder_;
};

}  // namespace kvasir
