#include "core/text/space_marker.h"

namespace kvasir::text {

std::string collapse_spaces(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c != ' ' || (!out.empty() && out.back() != ' ')) out.push_back(c);
  }
  if (out.ends_with(' ')) out.pop_back();
  return out;
}

std::string mark_spaces(std::string_view text, bool collapse, bool prefix, bool unless_space) {
  std::string collapsed;
  if (collapse) {
    collapsed = collapse_spaces(text);
    text = collapsed;
  }
  std::string out;
  out.reserve(text.size() + text.size() / 2 + kSpaceMarker.size());
  const bool spaced = text.starts_with(' ') || text.starts_with(kSpaceMarker);
  if (prefix && !text.empty() && !(unless_space && spaced)) out.append(kSpaceMarker);
  for (const char c : text) {
    if (c == ' ') {
      out.append(kSpaceMarker);
    } else {
      out.push_back(c);
    }
  }
  return out;
}

}  // namespace kvasir::text
