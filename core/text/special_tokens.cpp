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

/// \w: Alphabetic, marks, decimal digits, connectors, joiners.
bool is_word(std::string_view text, size_t at) noexcept {
  const Unit unit = unit_at(text.data() + at, text.data() + text.size(), CharTable::shared().basic_plane());
  if (unit.in(kLetters | kMarks | set_of(kNd) | set_of(kNl) | set_of(kPc))) return true;
  const auto within = [c = unit.code_point](uint32_t low, uint32_t high) { return c >= low && c <= high; };
  return within(0x200C, 0x200D) || within(0x24B6, 0x24E9) || within(0x1F130, 0x1F149) || within(0x1F150, 0x1F169) ||
         within(0x1F170, 0x1F189);
}

}  // namespace

SpecialTokens::SpecialTokens(std::vector<Entry> entries) {
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.text < b.text; });
  std::vector<std::string_view> texts;
  for (const Entry& entry : entries) {
    texts.push_back(entry.text);
    tokens_.push_back(entry.token);
    starts_[static_cast<uint8_t>(entry.text[0])] = true;
  }
  trie_ = ByteTrie(texts);
}

const SpecialToken* SpecialTokens::Finder::longest_at(size_t at, size_t& length) {
  const std::string& text = text_.text();
  const auto& runs = text_.runs();
  while (runs[run_].end <= at) ++run_;
  const size_t trusted_end = runs[run_].trusted ? runs[run_].end : at;
  const SpecialToken* best = nullptr;
  const ByteTrie::Node* node = tokens_.trie_.root();
  for (size_t i = at; i < text.size(); ++i) {
    node = tokens_.trie_.child(*node, static_cast<uint8_t>(text[i]));
    if (node == nullptr) break;
    if (node->entry < 0) continue;
    const SpecialToken& token = tokens_.tokens_[static_cast<size_t>(node->entry)];
    if (token.trusted_only && i + 1 > trusted_end) continue;
    best = &token;
    length = i + 1 - at;
  }
  return best;
}

bool SpecialTokens::Finder::next(Match& match) {
  const std::string& text = text_.text();
  if (tokens_.empty()) return false;
  while (search_ < text.size()) {
    const size_t at = search_++;
    if (!tokens_.starts_[static_cast<uint8_t>(text[at])]) continue;
    size_t length = 0;
    const SpecialToken* token = longest_at(at, length);
    if (token == nullptr) continue;
    const size_t end = search_ = at + length;
    if (token->whole_word &&
        ((at > 0 && is_word(text, step_left(text, at))) || (end < text.size() && is_word(text, end)))) {
      continue;
    }
    match.begin = token->strip_left ? skip_white_left(text, std::min(taken_, at), at) : at;
    if (token->strip_right && end >= white_end_) white_end_ = skip_white_right(text, end);
    match.end = token->strip_right ? white_end_ : end;
    match.id = token->id;
    taken_ = match.end;
    return true;
  }
  return false;
}

}  // namespace kvasir::text
