// Cuts what a model says into markers and text. Owned by one generation; engine thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/text/tokenizer.h"

namespace kvasir {

/// What a token adds to the text. `controls`: control tokens as they are written (a call's markers are such tokens).
inline std::string_view text_of_token(const Tokenizer& tokenizer, TokenId token, bool controls) {
  if (controls && tokenizer.kind(token) == TokenKind::kControl) return tokenizer.token_text(token);
  return tokenizer.token_bytes(token);
}

class MarkerScanner {
 public:
  struct Item {
    std::optional<size_t> marker;  ///< index; absent: text
    std::string bytes;             ///< as it would stand in the text: nothing for a control token without `controls`
  };
  struct Options {
    bool spelled =
        true;  ///< a marker may also be spelled by tokens of text; else it counts only as the one token it is
    bool controls = false;  ///< as in text_of_token()
  };
  MarkerScanner(const Tokenizer& tokenizer, std::vector<std::string> markers, Options options);

  void push(TokenId token, std::vector<Item>& out);
  /// Text whose markers count in any case: what a prompt has said already.
  void push_text(std::string_view text, std::vector<Item>& out);
  /// What was held back as the possible beginning of a marker.
  bool holds_back() const noexcept { return !held_.empty(); }
  std::string take_held() { return std::exchange(held_, {}); }

 private:
  void scan(std::vector<Item>& out);

  const Tokenizer& tokenizer_;
  std::vector<std::string> markers_;
  std::vector<std::optional<TokenId>> tokens_;  ///< of each marker
  Options options_;
  std::string held_;
};

}  // namespace kvasir
