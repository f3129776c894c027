#include "core/text/token_table.h"

#include <algorithm>
#include <array>
#include <utility>

#include "core/text/byte_hash.h"
#include "core/text/unicode.h"
#include "core/text/utf8_stream.h"

namespace kvasir::text {
namespace {

/// GPT-2: printable Latin-1 stands for itself, the other 68 bytes for U+0100 and on, in order.
struct Alphabet {
  std::array<uint16_t, 256> code_point{};
  std::array<int16_t, 0x144> byte{};
  constexpr Alphabet() {
    byte.fill(-1);
    uint16_t next = 0x100;
    for (uint16_t b = 0; b < 256; ++b) {
      const bool itself = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      code_point[b] = itself ? b : next++;
      byte[code_point[b]] = static_cast<int16_t>(b);
    }
  }
};
constexpr Alphabet kAlphabet;

/// Appends `text` with U+2581 as spaces.
void append_unmarked(std::string_view text, std::string& out) {
  for (size_t at = 0;;) {
    const size_t marker = text.find(kSpaceMarker, at);
    out.append(text.substr(at, marker - at));
    if (marker == std::string_view::npos) return;
    out.push_back(' ');
    at = marker + kSpaceMarker.size();
  }
}

/// False (and nothing appended) if a character is outside the alphabet: such a token is plain text.
bool append_from_alphabet(std::string_view text, std::string& out) {
  const size_t before = out.size();
  const char* const end = text.data() + text.size();
  for (const char* p = text.data(); p < end;) {
    const Unit unit = decode_at(p, end);
    const auto byte = byte_of_alphabet(unit.code_point);
    if (!byte) {
      out.resize(before);
      return false;
    }
    out.push_back(static_cast<char>(*byte));
    p += unit.bytes;
  }
  return true;
}

}  // namespace

std::optional<uint8_t> byte_of_alphabet(uint32_t code_point) noexcept {
  if (code_point >= kAlphabet.byte.size() || kAlphabet.byte[code_point] < 0) return std::nullopt;
  return static_cast<uint8_t>(kAlphabet.byte[code_point]);
}

void append_in_alphabet(std::string_view bytes, std::string& out) {
  for (const char c : bytes) append_utf8(kAlphabet.code_point[static_cast<uint8_t>(c)], out);
}

std::optional<uint8_t> parse_byte_token(std::string_view text) noexcept {
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return std::nullopt;
  uint8_t value = 0;
  for (const char c : text.substr(3, 2)) {
    int digit = -1;
    if (c >= '0' && c <= '9') digit = c - '0';
    if (c >= 'A' && c <= 'F') digit = c - 'A' + 10;
    if (c >= 'a' && c <= 'f') digit = c - 'a' + 10;
    if (digit < 0) return std::nullopt;
    value = static_cast<uint8_t>(value * 16 + digit);
  }
  return value;
}

std::string quote_token(std::string_view text) {
  constexpr size_t kShown = 40;
  std::string out = "\"" + to_valid_utf8(text.substr(0, kShown));
  for (char& c : out) {
    if (static_cast<uint8_t>(c) < 0x20 || c == 0x7F) c = '?';
  }
  return out + (text.size() > kShown ? "...\"" : "\"");
}

Result<TokenTable> TokenTable::create(std::vector<std::string> texts, const std::vector<int32_t>& kinds,
                                      TokenSpelling spelling, const TokenizerLimits& limits,
                                      const VocabularyNames& names) {
  TokenTable table;
  table.texts_ = std::move(texts);
  if (table.texts_.empty()) {
    return Failure{Code::kCorrupt,
                   std::string(names.tokens) + " is empty: the file has no vocabulary; convert it again"};
  }
  if (table.texts_.size() > limits.max_tokens) {
    return Failure{Code::kTooLarge,
                   std::string(names.tokens) + " has " + std::to_string(table.texts_.size()) +
                       " tokens, more than the limit max_tokens = " + std::to_string(limits.max_tokens)};
  }
  KVASIR_TRY(table.take_kinds(kinds, spelling, names));
  KVASIR_TRY(table.index(limits, names));
  KVASIR_TRY(table.spell_bytes(spelling, names));
  return table;
}

Result<void> TokenTable::take_kinds(const std::vector<int32_t>& kinds, TokenSpelling spelling,
                                    const VocabularyNames& names) {
  if (!kinds.empty() && kinds.size() != texts_.size()) {
    return Failure{Code::kCorrupt, std::string(names.kinds) + " has " + std::to_string(kinds.size()) + " entries for " +
                                       std::to_string(texts_.size()) + " tokens; the file is damaged, fetch it again"};
  }
  kinds_.assign(texts_.size(), TokenKind::kNormal);
  if (kinds.empty() && spelling == TokenSpelling::kSpaceMarked) {
    for (size_t i = 0; i < texts_.size(); ++i) {
      if (parse_byte_token(texts_[i])) kinds_[i] = TokenKind::kByte;
    }
  }
  for (size_t i = 0; i < kinds.size(); ++i) {
    if (kinds[i] == 0) continue;  // "undefined" in old files: an ordinary token
    if (kinds[i] < 0 || kinds[i] > 6) {
      return Failure{Code::kCorrupt, std::string(names.kinds) + "[" + std::to_string(i) + "] is " +
                                         std::to_string(kinds[i]) + "; known are 1 to 6; convert the model again"};
    }
    kinds_[i] = static_cast<TokenKind>(kinds[i]);
  }
  return {};
}

Result<void> TokenTable::index(const TokenizerLimits& limits, const VocabularyNames& names) {
  seed_ = random_seed();
  slots_.assign(table_slots(texts_.size(), 60), 0);
  const size_t mask = slots_.size() - 1;
  for (size_t i = 0; i < texts_.size(); ++i) {
    const std::string& text = texts_[i];
    const auto complain = [&](const char* what) {
      return Failure{Code::kCorrupt,
                     std::string(names.tokens) + "[" + std::to_string(i) + "] " + quote_token(text) + " " + what};
    };
    if (text.empty()) return complain("is empty; the vocabulary is damaged, convert the model again");
    if (text.size() > limits.max_token_bytes) {
      return complain(("is longer than max_token_bytes = " + std::to_string(limits.max_token_bytes)).c_str());
    }
    longest_ = std::max(longest_, text.size());
    const uint64_t hash = hash_bytes(text, seed_);
    size_t at = hash & mask;
    for (; slots_[at] != 0; at = (at + 1) & mask) {
      if (slots_[at] >> 32 == hash >> 32 && texts_[(slots_[at] & UINT32_MAX) - 1] == text) {
        return complain("is there twice; the vocabulary is damaged, convert the model again");
      }
    }
    slots_[at] = (hash >> 32 << 32) | (i + 1);
  }
  return {};
}

TokenId TokenTable::find(std::string_view text) const noexcept {
  return find_hashed(text, hash_bytes(text, seed_));
}

TokenId TokenTable::find_hashed(std::string_view text, uint64_t hash) const noexcept {
  const size_t mask = slots_.size() - 1;
  for (size_t at = hash & mask; slots_[at] != 0; at = (at + 1) & mask) {
    if (slots_[at] >> 32 != hash >> 32) continue;
    const size_t id = (slots_[at] & UINT32_MAX) - 1;
    if (equal_bytes(texts_[id], text)) return static_cast<TokenId>(id);
  }
  return -1;
}

void TokenTable::find_many(std::span<const std::string_view> texts, std::span<TokenId> ids) const {
  constexpr size_t kBlock = 48;
  const size_t mask = slots_.size() - 1;
  std::array<uint64_t, kBlock> hashes{};
  for (size_t first = 0; first < texts.size(); first += kBlock) {
    const size_t count = std::min(kBlock, texts.size() - first);
    for (size_t i = 0; i < count; ++i) {
      hashes[i] = hash_bytes(texts[first + i], seed_);
      __builtin_prefetch(&slots_[hashes[i] & mask]);
    }
    for (size_t i = 0; i < count; ++i) {
      if (const uint64_t slot = slots_[hashes[i] & mask]; slot != 0)
        __builtin_prefetch(&texts_[(slot & UINT32_MAX) - 1]);
    }
    for (size_t i = 0; i < count; ++i) ids[first + i] = find_hashed(texts[first + i], hashes[i]);
  }
}

Result<void> TokenTable::spell_bytes(TokenSpelling spelling, const VocabularyNames& names) {
  size_t total = 0;
  for (const std::string& text : texts_) total += text.size();
  if (total > UINT32_MAX) return Failure{Code::kTooLarge, std::string(names.tokens) + " is larger than 4 GiB in all"};
  bytes_.reserve(total);
  offsets_.reserve(texts_.size() + 1);
  for (size_t i = 0; i < texts_.size(); ++i) {
    offsets_.push_back(static_cast<uint32_t>(bytes_.size()));
    const std::string& text = texts_[i];
    const bool plain = kinds_[i] == TokenKind::kControl || kinds_[i] == TokenKind::kUnknown ||
                       (kinds_[i] == TokenKind::kUserDefined && spelling == TokenSpelling::kByteLevel);
    if (kinds_[i] == TokenKind::kByte) {
      const auto byte = parse_byte_token(text);
      if (!byte) {
        return Failure{Code::kCorrupt,
                       std::string(names.tokens) + "[" + std::to_string(i) + "] " + quote_token(text) +
                           " is marked as a byte but is not one of <0x00> to <0xFF>; convert the model again"};
      }
      bytes_.push_back(static_cast<char>(*byte));
    } else if (plain) {
      bytes_.append(text);
    } else if (spelling == TokenSpelling::kSpaceMarked) {
      append_unmarked(text, bytes_);
    } else if (!append_from_alphabet(text, bytes_)) {
      bytes_.append(text);
    }
  }
  offsets_.push_back(static_cast<uint32_t>(bytes_.size()));
  return {};
}

}  // namespace kvasir::text
