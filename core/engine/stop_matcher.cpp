#include "core/engine/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace kvasir {

StopMatcher::StopMatcher(std::vector<std::string> stops) {
  for (std::string& stop : stops) {
    if (stop.empty()) continue;
    std::vector<uint32_t> fallback(stop.size() + 1, 0);
    uint32_t border = 0;
    for (size_t i = 1; i < stop.size(); ++i) {
      while (border > 0 && stop[i] != stop[border]) border = fallback[border];
      if (stop[i] == stop[border]) ++border;
      fallback[i + 1] = border;
    }
    patterns_.push_back({std::move(stop), std::move(fallback), 0});
  }
}

std::string StopMatcher::push(std::string_view text) {
  if (matched_) return {};
  if (patterns_.empty()) return std::string(text);
  for (const char c : text) {
    held_ += c;
    const Pattern* longest = nullptr;
    for (Pattern& pattern : patterns_) {
      while (pattern.state > 0 && pattern.text[pattern.state] != c) pattern.state = pattern.fallback[pattern.state];
      if (pattern.text[pattern.state] == c) ++pattern.state;
      if (pattern.state < pattern.text.size()) continue;
      if (longest == nullptr || pattern.text.size() > longest->text.size()) longest = &pattern;
    }
    if (longest == nullptr) continue;
    matched_ = longest->text;
    held_.resize(held_.size() - longest->text.size());
    return std::exchange(held_, {});
  }
  size_t open = 0;
  for (const Pattern& pattern : patterns_) open = std::max<size_t>(open, pattern.state);
  std::string out = held_.substr(0, held_.size() - open);
  held_.erase(0, out.size());
  return out;
}

std::string StopMatcher::flush() { return std::exchange(held_, {}); }

}  // namespace kvasir
