#include "sessions/compression/probes.h"

#include <algorithm>
#include <set>

namespace kvasir {
namespace {

constexpr size_t kShortestAnchor = 3, kLongestAnchor = 120;
constexpr size_t kShortestLead = 12, kLongestLead = 200;  // bytes of the sentence before what is asked for

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (static_cast<unsigned char>(c) & 0x80U) != 0; }

/// Without the punctuation around it.
std::string_view trimmed(std::string_view word) {
  const auto outer = [](char c) { return std::string_view("\"'`()[]{}<>,;:!?*").find(c) != std::string_view::npos; };
  while (!word.empty() && outer(word.front())) word.remove_prefix(1);
  while (!word.empty() && (outer(word.back()) || word.back() == '.')) word.remove_suffix(1);
  return word;
}

bool is_anchor(std::string_view word) {
  if (word.size() < kShortestAnchor || word.size() > kLongestAnchor) return false;
  const auto digits = std::ranges::count_if(word, is_digit);
  const auto letters = std::ranges::count_if(word, is_letter);
  if (digits >= 3 || (digits > 0 && letters > 0)) return true;
  const bool joined = word.find_first_of("/_@\\") != std::string_view::npos || word.find("::") != std::string_view::npos ||
                      word.find("()") != std::string_view::npos;
  const size_t dot = word.find('.');
  const bool dotted = dot != std::string_view::npos && dot > 0 && dot + 1 < word.size();
  return letters > 0 && (joined || dotted);
}

/// Calls `found(sentence start, word start, word)` for every anchor.
template <class Found>
void each_anchor(std::string_view text, Found found) {
  size_t sentence = 0;
  for (size_t at = 0; at < text.size();) {
    if (is_space(text[at])) {
      if (text[at] == '\n') sentence = at + 1;
      ++at;
      continue;
    }
    size_t end = at;
    while (end < text.size() && !is_space(text[end])) ++end;
    const std::string_view raw = text.substr(at, end - at);
    const std::string_view word = trimmed(raw);
    if (is_anchor(word)) found(sentence, static_cast<size_t>(word.data() - text.data()), word);
    if (raw.find_last_of(".!?") == raw.size() - 1) sentence = end;
    at = end;
  }
}

}  // namespace

std::vector<std::string> anchors_of(std::string_view text) {
  std::vector<std::string> out;
  std::set<std::string, std::less<>> seen;
  each_anchor(text, [&](size_t, size_t, std::string_view word) {
    if (seen.emplace(word).second) out.emplace_back(word);
  });
  return out;
}

std::vector<KnownAnswer> make_probes(std::span<const Turn> path, size_t spared, size_t most) {
  std::vector<KnownAnswer> all;
  for (const Turn& turn : path.first(path.size() - std::min(path.size(), spared))) {
    if (turn.role == "compression") continue;
    each_anchor(turn.content, [&](size_t sentence, size_t at, std::string_view word) {
      std::string_view lead = std::string_view(turn.content).substr(sentence, at - sentence);
      while (!lead.empty() && is_space(lead.front())) lead.remove_prefix(1);
      while (!lead.empty() && is_space(lead.back())) lead.remove_suffix(1);
      if (lead.size() < kShortestLead || lead.size() > kLongestLead) return;
      all.push_back({"Complete this sentence with exactly what was said before: \"" + std::string(lead) + "\"",
                     std::string(word)});
    });
  }
  if (all.size() <= most) return all;
  std::vector<KnownAnswer> out;
  for (size_t i = 0; i < most; ++i) out.push_back(all[i * all.size() / most]);
  return out;
}

}  // namespace kvasir
