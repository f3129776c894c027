// Tokenizers out of whole files: a Hugging Face tokenizer.json, or a SentencePiece tokenizer.model, each with what
// tokenizer_config.json adds. The steps that a file names are mapped to what this folder has; a step that has no equal
// here is refused by name, never approximated.
#pragma once

#include <memory>

#include "core/base/result.h"
#include "core/text/tokenizer.h"

namespace kvasir::text {

/// From data.tokenizer_json. Errors: kCorrupt, kUnsupported (names the step, or the expression), kTooLarge.
Result<std::unique_ptr<Tokenizer>> create_from_json(VocabularyData data, const TokenizerLimits& limits);
/// From data.sentencepiece_model. Errors: the same.
Result<std::unique_ptr<Tokenizer>> create_from_sentencepiece(VocabularyData data, const TokenizerLimits& limits);

}  // namespace kvasir::text
