#include "sessions/kv_owner_lists.h"

#include <algorithm>
#include <set>
#include <string_view>

#include "sessions/chain_hash.h"

namespace kvasir {
namespace {

constexpr size_t kNameBytes = 2 * kHashBytes;
constexpr std::string_view kPrincipal = "principal ", kTail = " tail";
constexpr uint64_t kMostListBytes = 64u << 20;  // a million blocks

std::string line_of(const ListedBlock& block) {
  return to_hex(block.key) + (block.tail ? std::string(kTail) : "") + '\n';
}

std::string head_of(const std::string& whose) {
  return whose.empty() ? "" : std::string(kPrincipal) + to_hex(whose) + '\n';
}

}  // namespace

std::vector<std::string> KvOwnerLists::owners() const {
  std::vector<std::string> out;
  const auto entries = files_->list(folder_);
  if (!entries) return out;
  for (const auto& entry : *entries) {
    if (entry.regular && !entry.name.ends_with(".tmp")) out.push_back(entry.name);
  }
  return out;
}

OwnerList KvOwnerLists::read(const std::string& owner) const {
  OwnerList out;
  const auto text = read_file(*files_, path_of(owner), kMostListBytes);
  if (!text) return out;
  std::vector<ListedBlock> lines;
  for (std::string_view rest = *text; !rest.empty();) {
    const size_t end = rest.find('\n');
    if (end == std::string_view::npos) break;  // a write that was cut short
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    if (line.starts_with(kPrincipal)) {
      out.whose = from_hex(line.substr(kPrincipal.size()));
    } else if (auto key = from_hex(line.substr(0, kNameBytes)); key.size() == kHashBytes) {
      lines.push_back({std::move(key), line.substr(kNameBytes) == kTail});
    }
  }
  std::set<std::string> seen;
  for (auto line = lines.rbegin(); line != lines.rend(); ++line) {
    if (seen.insert(line->key).second) out.blocks.push_back(std::move(*line));
  }
  std::ranges::reverse(out.blocks);
  out.repeats = out.blocks.size() < lines.size();
  return out;
}

Result<void> KvOwnerLists::note(const std::string& owner, const std::string& whose, const std::string& key,
                                KvBlockKind kind) {
  const auto list = KVASIR_TRY(files_->append(path_of(owner)));
  const bool fresh = KVASIR_TRY(list->size()) == 0;
  // The empty line ends one that a full disk or a crash cut short.
  return list->write((fresh ? head_of(whose) : "\n") + line_of({key, kind == KvBlockKind::kTail}));
}

Result<void> KvOwnerLists::replace(const std::string& owner, const OwnerList& list) {
  std::string text = head_of(list.whose);
  for (const auto& block : list.blocks) text += line_of(block);
  return write_file(*files_, path_of(owner), {text}, Durability::kNone);
}

void KvOwnerLists::remove(const std::string& owner) {
  (void)files_->remove(path_of(owner)).has_value();  // not there: gone already
}

}  // namespace kvasir
