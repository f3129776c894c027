#include "core/engine/marker_scanner.h"

#include <algorithm>

namespace kvasir {
namespace {

/// How many bytes at the end of `text` may be the beginning of `marker`.
size_t partial_marker(std::string_view text, std::string_view marker) {
  for (size_t n = std::min(text.size(), marker.size() - 1); n > 0; --n) {
    if (text.ends_with(marker.substr(0, n))) return n;
  }
  return 0;
}

}  // namespace

MarkerScanner::MarkerScanner(const Tokenizer& tokenizer, std::vector<std::string> markers, Options options)
    : tokenizer_(tokenizer), markers_(std::move(markers)), options_(options) {
  for (const auto& marker : markers_) tokens_.push_back(tokenizer.find(marker));
}

void MarkerScanner::push(TokenId token, std::vector<Item>& out) {
  const std::string_view bytes = text_of_token(tokenizer_, token, options_.controls);
  const auto found = std::ranges::find(tokens_, std::optional(token));
  if (found != tokens_.end()) {
    if (!held_.empty()) out.push_back({std::nullopt, take_held()});
    out.push_back({static_cast<size_t>(found - tokens_.begin()), std::string(bytes)});
    return;
  }
  held_ += bytes;
  if (options_.spelled) return scan(out);
  if (!held_.empty()) out.push_back({std::nullopt, take_held()});
}

void MarkerScanner::push_text(std::string_view text, std::vector<Item>& out) {
  held_ += text;
  scan(out);
}

void MarkerScanner::scan(std::vector<Item>& out) {
  for (;;) {
    size_t first = std::string::npos, which = 0;
    for (size_t i = 0; i < markers_.size(); ++i) {
      if (const size_t at = held_.find(markers_[i]); at < first) first = at, which = i;
    }
    if (first == std::string::npos) break;
    if (first > 0) out.push_back({std::nullopt, held_.substr(0, first)});
    out.push_back({which, markers_[which]});
    held_.erase(0, first + markers_[which].size());
  }
  size_t kept = 0;
  for (const auto& marker : markers_) kept = std::max(kept, partial_marker(held_, marker));
  if (held_.size() == kept) return;
  out.push_back({std::nullopt, held_.substr(0, held_.size() - kept)});
  held_.erase(0, held_.size() - kept);
}

}  // namespace kvasir
