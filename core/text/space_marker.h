// Text with spaces made visible, as SentencePiece sees it: U+2581 for each space, and perhaps one in front.
#pragma once

#include <string>
#include <string_view>

namespace kvasir::text {

inline constexpr std::string_view kSpaceMarker = "\xE2\x96\x81";  // U+2581

/// Spaces trimmed at both ends and runs of them collapsed.
std::string collapse_spaces(std::string_view text);
/// `text` with markers. Prefix: one in front of text that is not empty, or, if unless_space, that does not begin with one.
std::string mark_spaces(std::string_view text, bool collapse, bool prefix, bool unless_space);

}  // namespace kvasir::text
