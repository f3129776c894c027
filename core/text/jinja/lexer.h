// Jinja source to tokens, with Hugging Face's settings: trim_blocks, lstrip_blocks, no trailing newline kept. Tokens
// are views into the normalised source. Errors: kInvalidArgument with the line. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace kvasir::jinja {

enum class TokenKind : uint8_t {
  kText,
  kBlockBegin,
  kBlockEnd,
  kPrintBegin,
  kPrintEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,
  kEnd
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  uint32_t line = 1;
  std::string_view text;  ///< strings: what is between the quotes, not yet unescaped
};

/// \r\n and \r become \n; one newline at the very end is dropped.
std::string normalise_newlines(std::string_view source);

/// `source` must be normalised and outlive the tokens. The last token is kEnd.
Result<std::vector<Token>> tokenize_template(std::string_view source);

}  // namespace kvasir::jinja
