// From what a vocabulary file says to what a tokenizer may rely on: all checks of the metadata, and the decisions about
// special tokens (BOS, EOS, end of generation, which tokens are found in text as they stand).
#pragma once

#include <string_view>

#include "core/base/result.h"
#include "core/text/tokenizer_base.h"

namespace kvasir::text {

/// What the tokenizer's kind implies where the metadata says nothing.
struct VocabularyDefaults {
  TokenSpelling spelling = TokenSpelling::kByteLevel;
  bool add_bos = false;
  std::optional<TokenId> bos, eos, unknown;
  VocabularyNames names = {};
  /// The tokens that are found in text, where the file says that itself; else they are found by their kinds.
  const std::vector<SpecialToken>* added = nullptr;
};

/// Checks everything but merges and scores. Moves `data.tokens` out. Errors: as Tokenizer::create.
Result<TokenizerParts> check_vocabulary(VocabularyData& data, const VocabularyDefaults& defaults,
                                        const TokenizerLimits& limits);

/// True for the texts by which models mark the end of a turn or of all text, whatever their metadata says.
bool is_end_token_text(std::string_view text) noexcept;

}  // namespace kvasir::text
