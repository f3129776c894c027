// Tokens that are found in text before it is cut into words: control tokens, only in trusted bytes, and user-defined
// tokens, anywhere. The leftmost and then the longest one wins, and only then its rules are looked at, as in the
// tokenizers library. Immutable once made.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "backends/backend.h"  // TokenId
#include "core/text/byte_trie.h"
#include "core/text/trusted_text.h"

namespace kvasir::text {

struct SpecialToken {
  TokenId id = 0;
  bool trusted_only = true;
  bool strip_left = false;   ///< swallows white space before it
  bool strip_right = false;  ///< and after it
  bool whole_word = false;   ///< only where no word character touches it
};

class SpecialTokens {
 public:
  struct Match {
    size_t begin = 0;  ///< of the token, or of the white space that it swallows; may lie before the end of the last
                       ///< one, whose swallowed white space is searched too
    size_t end = 0;
    TokenId id = 0;
  };

  SpecialTokens() = default;
  struct Entry {
    std::string_view text;  ///< only read by the constructor
    SpecialToken token;
  };
  /// `entries` must have distinct, non-empty texts.
  explicit SpecialTokens(std::vector<Entry> entries);

  /// Walks over one text. Cost: linear in the text times the length of the longest special token that it nearly holds.
  class Finder {
   public:
    Finder(const SpecialTokens& tokens, const TrustedText& text) : tokens_(tokens), text_(text) {}
    /// The next match; false if there is none.
    bool next(Match& match);

   private:
    const SpecialToken* longest_at(size_t at, size_t& length);
    const SpecialTokens& tokens_;
    const TrustedText& text_;
    size_t run_ = 0;
    size_t search_ = 0;  ///< where the next token may begin
    size_t taken_ = 0;   ///< end of the last match
    size_t white_end_ = 0;  ///< of the white space that the last token swallowed: it is measured once
  };
  bool empty() const noexcept { return tokens_.empty(); }

 private:
  ByteTrie trie_;  ///< its entries are indices into tokens_
  std::vector<SpecialToken> tokens_;
  std::array<bool, 256> starts_{};
};

}  // namespace kvasir::text
