// Holds back incomplete code points so that streamed text is always whole UTF-8. Owned by one generation; any thread.
#pragma once

#include <string>
#include <string_view>

namespace kvasir {

class Utf8Stream {
 public:
  /// Takes the next bytes, returns what can be shown now. Bytes that can never become UTF-8 turn into U+FFFD
  /// (one per maximal ill-formed subsequence: Unicode 15, table 3-8).
  std::string push(std::string_view bytes);
  /// The end: what is held back becomes U+FFFD.
  std::string flush();
  bool empty() const noexcept { return pending_.empty(); }

 private:
  std::string pending_;
};

/// True if `text` is well-formed UTF-8 (no surrogates, no overlong forms).
bool is_valid_utf8(std::string_view text) noexcept;
/// `text` with every ill-formed subsequence replaced by U+FFFD.
std::string to_valid_utf8(std::string_view text);

}  // namespace kvasir
