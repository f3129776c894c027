// Finds stop strings in streamed text, across any split, and holds back what may still become one. The match that
// completes first wins, among those that complete together the longest: so the result does not depend on how the text
// was cut into tokens. Owned by one generation; engine thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kvasir {

class StopMatcher {
 public:
  /// `stops`: non-empty strings.
  explicit StopMatcher(std::vector<std::string> stops);

  /// Takes the next text; returns what is certainly before any stop string. After a match nothing more comes.
  std::string push(std::string_view text);
  /// The end: what was held back turned out to be plain text.
  std::string flush();
  bool holds_back() const noexcept { return !held_.empty(); }
  /// The stop string that ended the text.
  const std::optional<std::string>& matched() const noexcept { return matched_; }

 private:
  struct Pattern {
    std::string text;
    std::vector<uint32_t> fallback;  // Knuth, Morris, Pratt 1977: longest proper border of each prefix
    uint32_t state = 0;              // so many bytes at the end of the text are a prefix of `text`
  };
  std::vector<Pattern> patterns_;
  std::string held_;
  std::optional<std::string> matched_;
};

}  // namespace kvasir
