// The scanners behind pretokenizer.cpp: templates whose parameters are the points in which the models' regular
// expressions differ. Each comment gives the expression, in the notation of Oniguruma, that the code is equal to.
#pragma once

#include <cstring>

#include "core/text/pretokenizer.h"

namespace kvasir::text {

struct CodeRange {
  uint32_t first, last;
};

/// The longest run of characters in `Set` from p.
template <CategorySet Set>
const char* run_of(const char* p, const char* end, const uint8_t* table) noexcept {
  while (p < end) {
    const Unit unit = unit_at(p, end, table);
    if (!unit.in(Set)) break;
    p += unit.bytes;
  }
  return p;
}

inline bool is_newline(const char* p) noexcept {
  return *p == '\r' || *p == '\n';
}

/// 's|'t|'re|'ve|'m|'ll|'d, in lower or any case. With Unicode case folding U+017F is an s too.
template <bool AnyCase>
size_t contraction(const char* p, const char* end) noexcept {
  const auto left = static_cast<size_t>(end - p);
  if (left < 2 || *p != '\'') return 0;
  const auto letter = [p](size_t i) {
    const char c = p[i];
    return AnyCase && c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  };
  const char first = letter(1);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
  if (left < 3) return 0;
  const char second = letter(2);
  if ((first == 'r' && second == 'e') || (first == 'v' && second == 'e') || (first == 'l' && second == 'l')) return 3;
  if (AnyCase && p[1] == '\xC5' && p[2] == '\xBF') return 3;
  return 0;
}

/// \s+(?!\S)|\s+ at white space: all of the run at the end of text, else all but its last character.
inline size_t white_space(const char* p, const char* end, const uint8_t* table) noexcept {
  const char* last = p;
  const char* q = p;
  while (q < end) {
    const Unit unit = unit_at(q, end, table);
    if (!unit.in(kWhiteSpace)) return static_cast<size_t>((last == p ? q : last) - p);
    last = q;
    q += unit.bytes;
  }
  return static_cast<size_t>(q - p);
}

/// \s*[\r\n]+|\s+(?!\S)|\s+ at white space: up to the last line break of the run, if it has one.
inline size_t white_space_lines(const char* p, const char* end, const uint8_t* table) noexcept {
  const char* last = p;
  const char* after_newline = nullptr;
  const char* q = p;
  while (q < end) {
    const Unit unit = unit_at(q, end, table);
    if (!unit.in(kWhiteSpace)) break;
    if (is_newline(q)) after_newline = q + 1;
    last = q;
    q += unit.bytes;
  }
  if (after_newline != nullptr) return static_cast<size_t>(after_newline - p);
  if (q == end || last == p) return static_cast<size_t>(q - p);
  return static_cast<size_t>(last - p);
}

/// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
inline size_t scan_gpt2(const char* p, const char* end, ScanContext& context) {
  const uint8_t* table = context.basic_plane;
  if (const size_t length = contraction<false>(p, end); length != 0) return length;
  const char* q = p;
  if (*p == ' ' && p + 1 < end) ++q;
  const Unit unit = unit_at(q, end, table);
  const char* const next = q + unit.bytes;
  if (unit.in(kLetters)) return static_cast<size_t>(run_of<kLetters>(next, end, table) - p);
  if (unit.in(kNumbers)) return static_cast<size_t>(run_of<kNumbers>(next, end, table) - p);
  if (!unit.in(kWhiteSpace))
    return static_cast<size_t>(run_of<~(kLetters | kNumbers | kWhiteSpace)>(next, end, table) - p);
  return white_space(p, end, table);
}

enum class Words : uint8_t {
  kPlain,       ///< [^\r\n\p{L}\p{N}]?\p{L}+
  kWithMarks,   ///< [^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+, and the rule for other characters excludes \p{M}
  kCased,       ///< P?U*W+|P?U+W*: U = [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}], W = [\p{Ll}\p{Lm}\p{Lo}\p{M}], P as above
  kCasedNoHan,  ///< [\p{Han}]+ first, and U and W without Han
  kSpaced,      ///< [^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+
};
enum class Contractions : uint8_t { kNone, kBefore, kAfterWord };  ///< (?i:'s|...): a word of its own, or a word's end
enum class Trail : uint8_t {
  kNone,
  kLines,
  kLinesSlashes,
  kOneLineSlash
};  ///< after other characters: [\r\n]*, [\r\n/]*, [\r\n/]?

/// The family that began with GPT-4's cl100k:
/// (?i:'s|...)|words|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
struct Gpt4Rules {
  Words words = Words::kPlain;
  Contractions contractions = Contractions::kBefore;
  size_t digits = 3;  ///< \p{N}{1,digits}; 0: \p{N}+
  Trail trail = Trail::kLines;
  bool halving_spaces = false;  ///< \s{512}(?!\S)|\s{256}(?!\S)|...|\s{1,2}(?!\S)|\s{1} instead of \s+(?!\S)|\s+
};

inline constexpr CategorySet kUpperSide = set_of(kLu) | set_of(kLt) | set_of(kLm) | set_of(kLo) | kMarks;
inline constexpr CategorySet kLowerSide = set_of(kLl) | set_of(kLm) | set_of(kLo) | kMarks;

template <bool NoHan>
bool in_case_set(const Unit& unit, CategorySet set) noexcept {
  return unit.in(set) && !(NoHan && (unit.bits & kHan) != 0);
}

/// U*W+ from q, greedy with its backtracking; null if it does not match.
template <bool NoHan>
const char* upper_then_lower(const char* q, const char* end, const uint8_t* table) noexcept {
  const char* after_both = nullptr;  // where W+ would end if U* gave back all after its last character that is in W too
  while (q < end) {
    const Unit unit = unit_at(q, end, table);
    if (!in_case_set<NoHan>(unit, kUpperSide)) break;
    q += unit.bytes;
    if (unit.in(kLowerSide)) after_both = q;
  }
  const char* const upper_end = q;
  while (q < end) {
    const Unit unit = unit_at(q, end, table);
    if (!in_case_set<NoHan>(unit, kLowerSide)) break;
    q += unit.bytes;
  }
  return q > upper_end ? q : after_both;
}

template <bool NoHan>
const char* upper_run(const char* q, const char* end, const uint8_t* table) noexcept {
  while (q < end) {
    const Unit unit = unit_at(q, end, table);
    if (!in_case_set<NoHan>(unit, kUpperSide)) break;
    q += unit.bytes;
  }
  return q;
}

/// P?U*W+|P?U+W* at p; null if neither matches.
template <bool NoHan>
const char* cased_word(const char* p, const char* end, const Unit& first, const uint8_t* table) noexcept {
  const bool may_lead = !first.in(kLetters | kNumbers) && !is_newline(p) && p + first.bytes < end;
  const bool in_word = in_case_set<NoHan>(first, kUpperSide | kLowerSide);
  const char* const second = p + first.bytes;
  if (may_lead) {
    if (const char* e = upper_then_lower<NoHan>(second, end, table)) return e;
  }
  if (in_word) {
    if (const char* e = upper_then_lower<NoHan>(p, end, table)) return e;
  }
  if (may_lead) {
    if (const char* e = upper_run<NoHan>(second, end, table); e > second) return e;
  }
  if (in_word) {
    if (const char* e = upper_run<NoHan>(p, end, table); e > p) return e;
  }
  return nullptr;
}

/// (?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+ at p, which is at a letter.
inline const char* spaced_words(const char* p, const char* end, const uint8_t* table) noexcept {
  while (p < end) {
    const char* q = *p == ' ' && p + 1 < end ? p + 1 : p;
    const Unit unit = unit_at(q, end, table);
    if (!unit.in(kLetters)) break;
    p = run_of<kMarks>(q + unit.bytes, end, table);
  }
  return p;
}

template <Words W>
const char* word_end(const char* p, const char* end, const Unit& first, const uint8_t* table) noexcept {
  if constexpr (W == Words::kCased || W == Words::kCasedNoHan) {
    return cased_word < W == Words::kCasedNoHan > (p, end, first, table);
  } else {
    constexpr CategorySet kWord = W == Words::kWithMarks ? kLetters | kMarks : kLetters;
    const char* q = p;
    if (!first.in(kWord)) {
      if (first.in(kNumbers) || is_newline(p) || p + first.bytes >= end) return nullptr;
      q += first.bytes;
      if (!unit_at(q, end, table).in(kWord)) return nullptr;
    }
    return W == Words::kSpaced ? spaced_words(q, end, table) : run_of<kWord>(q, end, table);
  }
}

template <Trail T>
const char* trail_end(const char* p, const char* end) noexcept {
  if constexpr (T == Trail::kNone) return p;
  const auto fits = [&] { return p < end && (is_newline(p) || (T != Trail::kLines && *p == '/')); };
  if constexpr (T == Trail::kOneLineSlash) return fits() ? p + 1 : p;
  while (fits()) ++p;
  return p;
}

/// Length of the run of white space at p, in code points, from what was counted before if p is in a counted run.
inline size_t spaces_left(const char* p, const char* end, ScanContext& context) noexcept {
  if (context.counted_until != nullptr && p < context.counted_until && context.counted_left > 0)
    return context.counted_left;
  size_t count = 0;
  const char* q = p;
  while (q < end) {
    const Unit unit = unit_at(q, end, context.basic_plane);
    if (!unit.in(kWhiteSpace)) break;
    q += unit.bytes;
    ++count;
  }
  context.counted_until = q;
  context.counted_left = count;
  return count;
}

/// \s*[\r\n]+|\s{512}(?!\S)|...|\s{1,2}(?!\S)|\s{1}
inline size_t halving_white_space(const char* p, const char* end, ScanContext& context) noexcept {
  const bool counted = context.counted_until != nullptr && p < context.counted_until && context.counted_left > 0;
  if (!counted) {  // a run is counted only after its last line break is behind
    const size_t lines = white_space_lines(p, end, context.basic_plane);
    if (is_newline(p + lines - 1)) return lines;
  }
  const size_t left = spaces_left(p, end, context);
  const size_t usable = context.counted_until == end ? left : left - 1;  // what may stand before (?!\S)
  size_t take = 512;
  while (take > 2 && take > usable) take /= 2;
  if (take > usable) take = usable == 0 ? 1 : usable;
  const char* q = p;
  for (size_t i = 0; i < take; ++i) q += unit_at(q, end, context.basic_plane).bytes;
  context.counted_left = left - take;
  return static_cast<size_t>(q - p);
}

template <Gpt4Rules R>
size_t scan_gpt4(const char* p, const char* end, ScanContext& context) {
  const uint8_t* table = context.basic_plane;
  const auto length_to = [p](const char* e) { return static_cast<size_t>(e - p); };
  if constexpr (R.contractions == Contractions::kBefore) {
    if (const size_t length = contraction<true>(p, end); length != 0) return length;
  }
  const Unit first = unit_at(p, end, table);
  if constexpr (R.words == Words::kCasedNoHan) {
    const char* q = p;
    while (q < end && (unit_at(q, end, table).bits & kHan) != 0) q += unit_at(q, end, table).bytes;
    if (q > p) return length_to(q);
  }
  if (const char* e = word_end<R.words>(p, end, first, table)) {
    if constexpr (R.contractions == Contractions::kAfterWord) {
      if (e < end) e += contraction<true>(e, end);
    }
    return length_to(e);
  }
  if (first.in(kNumbers)) {
    const char* q = p + first.bytes;
    for (size_t i = 1; (R.digits == 0 || i < R.digits) && q < end; ++i) {
      const Unit unit = unit_at(q, end, table);
      if (!unit.in(kNumbers)) break;
      q += unit.bytes;
    }
    return length_to(q);
  }
  constexpr CategorySet kNotOther = kLetters | kNumbers | kWhiteSpace | (R.words == Words::kWithMarks ? kMarks : 0u);
  const char* q = *p == ' ' && p + 1 < end ? p + 1 : p;
  if (const Unit unit = unit_at(q, end, table); !unit.in(kNotOther)) {
    return length_to(trail_end<R.trail>(run_of<~kNotOther>(q + unit.bytes, end, table), end));
  }
  if constexpr (R.halving_spaces) return halving_white_space(p, end, context);
  return white_space_lines(p, end, table);
}

inline bool is_ascii_letter(char c) noexcept {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}
inline bool is_ascii_punctuation(char c) noexcept {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

/// [ASCII punctuation][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
/// LineByLine: no [\r\n]* after punctuation, and [\r\n] instead of \s*[\r\n]+.
template <bool LineByLine>
size_t scan_deepseek3(const char* p, const char* end, ScanContext& context) {
  const uint8_t* table = context.basic_plane;
  const auto length_to = [p](const char* e) { return static_cast<size_t>(e - p); };
  if (is_ascii_punctuation(*p) && p + 1 < end && is_ascii_letter(p[1])) {
    const char* q = p + 2;
    while (q < end && is_ascii_letter(*q)) ++q;
    return length_to(q);
  }
  const Unit first = unit_at(p, end, table);
  constexpr CategorySet kWord = kLetters | kMarks;
  if (first.in(kWord)) return length_to(run_of<kWord>(p, end, table));
  if (!first.in(kPunctuation | kSymbols) && !is_newline(p) && p + first.bytes < end &&
      unit_at(p + first.bytes, end, table).in(kWord)) {
    return length_to(run_of<kWord>(p + first.bytes, end, table));
  }
  const char* q = *p == ' ' && p + 1 < end ? p + 1 : p;
  if (unit_at(q, end, table).in(kPunctuation | kSymbols)) {
    q = run_of < kPunctuation | kSymbols > (q, end, table);
    return length_to(LineByLine ? q : trail_end<Trail::kLines>(q, end));
  }
  if (!first.in(kWhiteSpace)) return 0;
  if (LineByLine) return is_newline(p) ? 1 : white_space(p, end, table);
  return white_space_lines(p, end, table);
}

}  // namespace kvasir::text
