// Pre-tokenizers: how text is cut into words before byte-pair merging. Each one is a row of a table: a name (as in
// tokenizer.ggml.pre) and a chain of scanners, hand-written equivalents of the model's regular expressions. A scanner
// looks at one place and never behind it, and consumes what it looked at, so that any text takes linear time.
// Everything here is immutable and thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "core/text/unicode.h"

namespace kvasir::text {

/// What scanners share within one piece of text: the character table and what is known of the text ahead.
struct ScanContext {
  const uint8_t* basic_plane = nullptr;
  const char* counted_until = nullptr;  ///< end of a run of digits or spaces that was measured already
  size_t counted_left = 0;              ///< code points from the last match to there
};

/// Length in bytes of the match at p < end, or 0 if there is none at p. `end` bounds the piece, as the text's end
/// would.
using Scanner = size_t (*)(const char* p, const char* end, ScanContext& context);

/// Scanners apply one after another, each to the pieces of the one before; what none matches stays as a piece.
inline constexpr size_t kMaxScanners = 7;
using ScannerChain = std::array<Scanner, kMaxScanners>;  ///< ends at the first null

/// One named pre-tokenizer and what else its family of models does.
struct PreTokenizer {
  std::string_view name;
  ScannerChain scanners{};
  bool ignore_merges = false;      ///< a word that is a token is taken whole
  bool add_bos = false;            ///< where the metadata does not say
  bool nfc = false;                ///< the model's tokenizer normalises to NFC first
  bool spaces_as_markers = false;  ///< not byte-level: U+2581 stands for a space, and there is byte fallback
};

/// Finds a row by tokenizer.ggml.pre; the empty name is "default".
const PreTokenizer* find_pretokenizer(std::string_view name);
/// The names, for error messages: "afmoe, bailingmoe, ...".
std::string pretokenizer_names();
/// The scanner that is equivalent to a regular expression of a tokenizer.json, if it is a known one.
std::optional<ScannerChain> find_scanners_by_pattern(std::string_view pattern);
/// GPT-2's expression, also what ByteLevel does with use_regex.
Scanner gpt2_scanner();
Scanner single_number_scanner();  ///< \p{N}
Scanner number_run_scanner();     ///< \p{N}+
Scanner punctuation_scanner();    ///< one of \p{P} or ASCII punctuation
Scanner punctuation_run_scanner();

namespace detail {

template <class Sink>
void split_stage(const Scanner* scanner, const char* p, const char* end, ScanContext& context, Sink& sink) {
  if (*scanner == nullptr) {
    sink(p, end);
    return;
  }
  const char* gap = p;
  while (p < end) {
    const size_t length = (*scanner)(p, end, context);
    if (length == 0) {
      p += decode_at(p, end).bytes;
      continue;
    }
    if (gap < p) split_stage(scanner + 1, gap, p, context, sink);
    split_stage(scanner + 1, p, p + length, context, sink);
    p += length;
    gap = p;
  }
  if (gap < end) split_stage(scanner + 1, gap, end, context, sink);
}

}  // namespace detail

/// Calls sink(begin, end) for each word of `text`, in order; they cover it.
template <class Sink>
void split_words(const ScannerChain& scanners, std::string_view text, Sink&& sink) {
  if (text.empty()) return;
  ScanContext context{CharTable::shared().basic_plane()};
  detail::split_stage(scanners.data(), text.data(), text.data() + text.size(), context, sink);
}

}  // namespace kvasir::text
