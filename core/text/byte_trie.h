// A set of byte strings as a trie in flat arrays, to find which of them begin at a place in text. Immutable once made.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace kvasir::text {

class ByteTrie {
 public:
  struct Node {
    uint32_t first_edge = 0;
    uint32_t edge_count = 0;
    int32_t entry = -1;  ///< index of the string that ends here
  };

  ByteTrie() = default;
  /// `sorted`: distinct, non-empty, in ascending order; at most 2^31 of them. Only read here.
  explicit ByteTrie(std::span<const std::string_view> sorted);

  bool empty() const noexcept { return nodes_.empty(); }
  const Node* root() const noexcept { return nodes_.data(); }
  /// Null if no string goes on with this byte.
  const Node* child(const Node& node, uint8_t byte) const noexcept {
    const Edge* const begin = edges_.data() + node.first_edge;
    const Edge* const end = begin + node.edge_count;
    const Edge* const edge = std::lower_bound(begin, end, byte, [](const Edge& e, uint8_t b) { return e.byte < b; });
    return edge == end || edge->byte != byte ? nullptr : &nodes_[edge->node];
  }

 private:
  struct Edge {
    uint32_t node = 0;
    uint8_t byte = 0;
  };
  std::vector<Node> nodes_;
  std::vector<Edge> edges_;  ///< of one node side by side, ascending
};

}  // namespace kvasir::text
