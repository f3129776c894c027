// Vocabularies small enough to write down, for tests of rules and for fuzzing: byte-level BPE and SPM.
#pragma once

#include <string>

#include "core/text/tokenizer.h"

namespace kvasir::test {

namespace detail {
inline int32_t number(TokenKind kind) {
  return static_cast<int32_t>(kind);
}
inline void add(VocabularyData& data, std::string text, TokenKind kind, float score) {
  data.tokens.push_back(std::move(text));
  data.kinds.push_back(number(kind));
  data.scores.push_back(score);
}
inline std::string utf8_of_two_bytes(unsigned c) {
  return {static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 0x3F))};
}
}  // namespace detail

/// GPT-2's alphabet (ids 0 to 255 in byte order), a few merges, then the special tokens
/// "<|start|>" (BOS), "<|im_end|>" (EOS), "<|im_end|>x" as control and "[user]", "[user]+" as user-defined.
inline VocabularyData small_byte_vocabulary() {
  using detail::add;
  VocabularyData data;
  data.model = "gpt2";
  data.pre = "gpt-2";
  unsigned next = 0x100;
  for (unsigned b = 0; b < 256; ++b) {
    const bool itself = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
    const unsigned c = itself ? b : next++;
    add(data, c < 0x80 ? std::string(1, static_cast<char>(c)) : detail::utf8_of_two_bytes(c), TokenKind::kNormal, 0);
  }
  for (const char* merge :
       {"h e", "l l", "he ll", "hell o", "\xC4\xA0 w", "o r", "a a", "aa aa", "i m", "\xC3\x83 \xC2\xA9"}) {
    std::string joined(merge);
    joined.erase(joined.find(' '), 1);
    data.merges.emplace_back(merge);
    add(data, joined, TokenKind::kNormal, 0);
  }
  data.bos = static_cast<int64_t>(data.tokens.size());
  add(data, "<|start|>", TokenKind::kControl, 0);
  data.eos = static_cast<int64_t>(data.tokens.size());
  add(data, "<|im_end|>", TokenKind::kControl, 0);
  add(data, "<|im_end|>x", TokenKind::kControl, 0);
  add(data, "[user]", TokenKind::kUserDefined, 0);
  add(data, "[user]+", TokenKind::kUserDefined, 0);
  data.add_bos = true;
  data.scores.clear();
  return data;
}

/// <unk>, <s>, </s>, 256 byte tokens (ids 3 to 258), then pieces by score.
inline VocabularyData small_spm_vocabulary() {
  using detail::add;
  VocabularyData data;
  data.model = "llama";
  add(data, "<unk>", TokenKind::kUnknown, 0);
  add(data, "<s>", TokenKind::kControl, 0);
  add(data, "</s>", TokenKind::kControl, 0);
  for (int b = 0; b < 256; ++b) {
    const char* hex = "0123456789ABCDEF";
    add(data, std::string("<0x") + hex[b / 16] + hex[b % 16] + ">", TokenKind::kByte, 0);
  }
  float score = -1;
  for (const char* piece :
       {"he", "ll", "hell", "hello", "\xE2\x96\x81h", "\xE2\x96\x81hello", "aa", "aaaa", "<s", "/s"}) {
    add(data, piece, TokenKind::kNormal, score--);
  }
  for (const char* piece : {"\xE2\x96\x81", "h", "e", "l", "o", "a", "b", "<", "/", "s", ">", "\xC3\xA9", "\n"}) {
    add(data, piece, TokenKind::kNormal, -100);
  }
  add(data, "[user]", TokenKind::kUserDefined, 0);
  data.bos = 1;
  data.eos = 2;
  data.unk = 0;
  return data;
}

}  // namespace kvasir::test
