// Text with spaces made visible, as SentencePiece sees it: U+2581 for each space.
#pragma once

#include <string>
#include <string_view>

namespace kvasir::text {

inline constexpr std::string_view kSpaceMarker = "\xE2\x96\x81";  // U+2581

/// `text` with markers for spaces.
std::string mark_spaces(std::string_view text);

}  // namespace kvasir::text
