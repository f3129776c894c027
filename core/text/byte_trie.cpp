#include "core/text/byte_trie.h"

namespace kvasir::text {

// Sorted strings that share a beginning are side by side, so each node is a range of them. The stack is explicit:
// recursion would be as deep as the longest string.
ByteTrie::ByteTrie(std::span<const std::string_view> sorted) {
  if (sorted.empty()) return;
  struct Task {
    size_t first, last, depth;
    uint32_t node;
  };
  nodes_.emplace_back();
  std::vector<Task> tasks{{0, sorted.size(), 0, 0}};
  while (!tasks.empty()) {
    const Task task = tasks.back();
    tasks.pop_back();
    size_t i = task.first;
    if (sorted[i].size() == task.depth) nodes_[task.node].entry = static_cast<int32_t>(i++);
    nodes_[task.node].first_edge = static_cast<uint32_t>(edges_.size());
    while (i < task.last) {
      const char byte = sorted[i][task.depth];
      size_t same = i;
      while (same < task.last && sorted[same][task.depth] == byte) ++same;
      const auto node = static_cast<uint32_t>(nodes_.size());
      nodes_.emplace_back();
      edges_.push_back({node, static_cast<uint8_t>(byte)});
      tasks.push_back({i, same, task.depth + 1, node});
      i = same;
    }
    nodes_[task.node].edge_count = static_cast<uint32_t>(edges_.size()) - nodes_[task.node].first_edge;
  }
}

}  // namespace kvasir::text
