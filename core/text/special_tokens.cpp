#include "core/text/special_tokens.h"

#include <algorithm>

#include "core/text/unicode.h"

namespace kvasir::text {
namespace {

bool is_white(const char* p, const char* end) noexcept {
  return unit_at(p, end, CharTable::shared().basic_plane()).in(kWhiteSpace);
}

size_t skip_white_right(std::string_view text, size_t at) noexcept {
  const char* const end = text.data() + text.size();
  while (at < text.size() && is_white(text.data() + at, end)) at += decode_at(text.data() + at, end).bytes;
  return at;
}

/// Start of the code point before `at`.
size_t step_left(std::string_view text, size_t at) noexcept {
  size_t begin = at - 1;
  while (begin > 0 && at - begin < 4 && (static_cast<uint8_t>(text[begin]) & 0xC0u) == 0x80u) --begin;
  return begin;
}

size_t skip_white_left(std::string_view text, size_t floor, size_t at) noexcept {
  while (at > floor) {
    const size_t before = step_left(text, at);
    if (before < floor || !is_white(text.data() + before, text.data() + at)) break;
    at = before;
  }
  return at;
}

bool is_word(std::string_view text, size_t at) noexcept {
  const Unit unit = unit_at(text.data() + at, text.data() + text.size(), CharTable::shared().basic_plane());
  return unit.in(kLetters | kMarks | kNumbers | set_of(kPc));
}

}  // namespace

SpecialTokens::SpecialTokens(std::vector<Entry> entries) {
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.text < b.text; });
  for (const Entry& entry : entries) {
    tokens_.push_back(entry.token);
    starts_[static_cast<uint8_t>(entry.text[0])] = true;
  }
  if (!entries.empty()) build(entries, 0, entries.size(), 0);
}

// The entries [first, last) share their first `depth` bytes and are sorted, so each child is a contiguous range. An
// explicit stack: recursion would be as deep as the longest token.
uint32_t SpecialTokens::build(const std::vector<Entry>& entries, size_t first, size_t last, size_t depth) {
  struct Task {
    size_t first, last, depth;
    uint32_t node;
  };
  nodes_.emplace_back();
  std::vector<Task> tasks{{first, last, depth, 0}};
  while (!tasks.empty()) {
    const Task task = tasks.back();
    tasks.pop_back();
    size_t i = task.first;
    if (entries[i].text.size() == task.depth) nodes_[task.node].token = static_cast<int32_t>(i++);
    nodes_[task.node].first_edge = static_cast<uint32_t>(edges_.size());
    while (i < task.last) {
      const char byte = entries[i].text[task.depth];
      size_t same = i;
      while (same < task.last && entries[same].text[task.depth] == byte) ++same;
      const auto node = static_cast<uint32_t>(nodes_.size());
      nodes_.emplace_back();
      edges_.push_back({static_cast<uint8_t>(byte), node});
      tasks.push_back({i, same, task.depth + 1, node});
      i = same;
    }
    nodes_[task.node].edge_count = static_cast<uint32_t>(edges_.size()) - nodes_[task.node].first_edge;
  }
  return 0;
}

const SpecialTokens::Node* SpecialTokens::child(const Node& node, uint8_t byte) const noexcept {
  const Edge* const begin = edges_.data() + node.first_edge;
  const Edge* const end = begin + node.edge_count;
  const Edge* const edge = std::lower_bound(begin, end, byte, [](const Edge& e, uint8_t b) { return e.byte < b; });
  return edge == end || edge->byte != byte ? nullptr : &nodes_[edge->node];
}

const SpecialToken* SpecialTokens::Finder::longest_at(size_t at, size_t& length) {
  const std::string& text = text_.text();
  const auto& runs = text_.runs();
  while (runs[run_].end <= at) ++run_;
  const size_t trusted_end = runs[run_].trusted ? runs[run_].end : at;
  const SpecialToken* best = nullptr;
  const Node* node = &tokens_.nodes_[0];
  for (size_t i = at; i < text.size(); ++i) {
    node = tokens_.child(*node, static_cast<uint8_t>(text[i]));
    if (node == nullptr) break;
    if (node->token < 0) continue;
    const SpecialToken& token = tokens_.tokens_[static_cast<size_t>(node->token)];
    if (token.trusted_only && i + 1 > trusted_end) continue;
    if (token.whole_word && ((at > 0 && is_word(text, step_left(text, at))) || (i + 1 < text.size() && is_word(text, i + 1)))) {
      continue;
    }
    best = &token;
    length = i + 1 - at;
  }
  return best;
}

bool SpecialTokens::Finder::next(size_t from, Match& match) {
  const std::string& text = text_.text();
  if (tokens_.tokens_.empty()) return false;
  for (size_t at = from; at < text.size(); ++at) {
    if (!tokens_.starts_[static_cast<uint8_t>(text[at])]) continue;
    size_t length = 0;
    const SpecialToken* token = longest_at(at, length);
    if (token == nullptr) continue;
    match.begin = token->strip_left ? skip_white_left(text, from, at) : at;
    match.end = token->strip_right ? skip_white_right(text, at + length) : at + length;
    match.id = token->id;
    return true;
  }
  return false;
}

}  // namespace kvasir::text
