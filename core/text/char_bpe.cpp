#include "core/text/char_bpe.h"

#include <bit>
#include <utility>

#include "core/text/unicode.h"

namespace kvasir::text {
namespace {

constexpr uint8_t kSpaceClass = 0xFF;  // no byte of UTF-8

/// One character at p for the purpose of cutting: its length, and its first and last byte, or kSpaceClass.
struct Cut {
  uint8_t first, last, bytes;
};

Cut cut_at(const char* p, const char* end) noexcept {
  const auto byte = static_cast<uint8_t>(*p);
  if (byte == ' ') return {kSpaceClass, kSpaceClass, 1};
  if (byte < 0x80) return {byte, byte, 1};
  if (byte == 0xE2 && end - p >= 3 && p[1] == kSpaceMarker[1] && p[2] == kSpaceMarker[2])
    return {kSpaceClass, kSpaceClass, 3};
  const uint8_t bytes = decode_at(p, end).bytes;
  return {byte, static_cast<uint8_t>(p[bytes - 1]), bytes};
}

/// A number that is lower for a higher score.
uint32_t rank_of(float score) noexcept {
  const auto bits = std::bit_cast<uint32_t>(score + 0.0f);  // -0 becomes 0
  const uint32_t ascending = (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
  return ~ascending;
}

}  // namespace

CharBpe::CharBpe(TokenizerParts parts, const std::vector<float>& scores, CharBpeOptions options)
    : SpacedTokenizer(std::move(parts), options.spaces, std::move(options.normalizer)),
      fuse_unknown_(options.fuse_unknown) {
  ranks_.reserve(scores.size());
  for (const float score : scores) ranks_.push_back(rank_of(score));
  find_byte_tokens();
  find_crossings();
}

CharBpe::CharBpe(TokenizerParts parts, MergeTable merges, CharBpeOptions options)
    : SpacedTokenizer(std::move(parts), options.spaces, std::move(options.normalizer)),
      fuse_unknown_(options.fuse_unknown),
      merges_(std::move(merges)) {
  find_byte_tokens();
  find_crossings();
}

void CharBpe::find_byte_tokens() {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  for (size_t b = 0; b < byte_tokens_.size(); ++b) {
    const std::string name = std::string("<0x") + kHex[b >> 4] + kHex[b & 15] + ">";
    byte_tokens_[b] = table().find(name);
    if (byte_tokens_[b] >= 0 && table().kind(byte_tokens_[b]) != TokenKind::kByte) byte_tokens_[b] = -1;
    drops_unknown_ = drops_unknown_ || (byte_tokens_[b] < 0 && !policy().unknown);
    if (b >= ascii_tokens_.size()) continue;
    const char c = static_cast<char>(b);
    const TokenId id = table().find(b == ' ' ? kSpaceMarker : std::string_view(&c, 1));
    ascii_tokens_[b] = id >= 0 && table().in_text(id) ? id : -1;
  }
}

void CharBpe::find_crossings() {
  for (size_t i = 0; i < table().size(); ++i) {
    const auto id = static_cast<TokenId>(i);
    if (!table().in_text(id)) continue;
    const std::string_view text = table().text(id);
    const char* const end = text.data() + text.size();
    Cut left = cut_at(text.data(), end);
    for (const char* p = text.data() + left.bytes; p < end;) {
      const Cut right = cut_at(p, end);
      crossings_[size_t{left.last} * 4 + right.first / 64] |= uint64_t{1} << (right.first % 64);
      left = right;
      p += right.bytes;
    }
  }
}

TokenId CharBpe::character_token(std::string_view character) const noexcept {
  if (character.size() == 1 && static_cast<uint8_t>(character[0]) < 0x80)
    return ascii_tokens_[static_cast<uint8_t>(character[0])];
  const TokenId id = table().find(character);
  return id >= 0 && table().in_text(id) ? id : -1;
}

/// What is left without the characters that have no token: what is around them may join.
std::string CharBpe::known_characters(std::string_view text, Encoded& out) const {
  std::string known;
  const char* const end = text.data() + text.size();
  for (const char* p = text.data(); p < end;) {
    const std::string_view character(p, decode_at(p, end).bytes);
    if (character_token(character) >= 0) {
      known.append(character);
    } else {
      out.dropped_bytes += character.size();
    }
    p += character.size();
  }
  return known;
}

void CharBpe::encode_run(std::string_view text, Workspace& work, Encoded& out) const {
  if (drops_unknown_) {
    encode_marked(known_characters(text, out), work, out);
  } else {
    encode_marked(text, work, out);
  }
}

void CharBpe::encode_marked(std::string_view text, Workspace& work, Encoded& out) const {
  const char* const end = text.data() + text.size();
  const char* word = text.data();
  uint8_t left = 0;
  for (const char* p = word; p < end;) {
    const Cut cut = cut_at(p, end);
    const bool splits = rules().split_at_spaces && cut.first == kSpaceClass;
    if ((splits || !crosses(left, cut.first)) && p > word) {
      encode_word({word, static_cast<size_t>(p - word)}, end, work, out,
                  [&](std::string_view w) { merge_word(w, work, out); });
      if (splits) work.last_unknown = false;
      word = p;
    }
    left = cut.last;
    p += cut.bytes;
  }
  if (word < end) {
    encode_word({word, static_cast<size_t>(end - word)}, end, work, out,
                [&](std::string_view w) { merge_word(w, work, out); });
  }
}

Join CharBpe::join_by_score(const Symbol& left, const Symbol& right, const std::string& text) const noexcept {
  const size_t length = size_t{left.length} + right.length;
  if (length > table().longest()) return {};
  const TokenId id = table().find(std::string_view(text).substr(left.begin, length));
  if (id < 0 || !table().in_text(id)) return {};
  return {ranks_[static_cast<size_t>(id)], id};
}

void CharBpe::merge_word(std::string_view word, Workspace& work, Encoded& out) const {
  auto& symbols = work.symbols;
  symbols.clear();
  work.word.clear();
  const char* const end = word.data() + word.size();
  for (const char* p = word.data(); p < end;) {
    const auto begin = static_cast<uint32_t>(work.word.size());
    const auto byte = static_cast<uint8_t>(*p);
    if (byte < 0x80) {
      if (byte == ' ') {
        work.word.append(kSpaceMarker);
      } else {
        work.word.push_back(*p);
      }
      symbols.push_back({ascii_tokens_[byte], begin, static_cast<uint32_t>(work.word.size()) - begin});
      ++p;
      continue;
    }
    const std::string_view character(p, decode_at(p, end).bytes);
    work.word.append(character);
    symbols.push_back({character_token(character), begin, static_cast<uint32_t>(character.size())});
    p += character.size();
  }
  if (merges_) {
    work.merger.merge(symbols, [this](const Symbol& l, const Symbol& r) { return merges_->join(l.id, r.id); });
  } else {
    work.merger.merge(symbols, [&](const Symbol& l, const Symbol& r) { return join_by_score(l, r, work.word); });
  }
  for (const Symbol& symbol : symbols) emit(symbol, work, out);
}

void CharBpe::emit(const Symbol& symbol, Workspace& work, Encoded& out) const {
  if (symbol.id >= 0) {
    out.ids.push_back(symbol.id);
    work.last_unknown = false;
    return;
  }
  const std::string_view bytes = std::string_view(work.word).substr(symbol.begin, symbol.length);
  bool all_known = true;
  for (const char c : bytes) all_known = all_known && byte_tokens_[static_cast<uint8_t>(c)] >= 0;
  if (all_known) {
    for (const char c : bytes) out.ids.push_back(byte_tokens_[static_cast<uint8_t>(c)]);
    work.last_unknown = false;
    return;
  }
  out.dropped_bytes += bytes.size();
  if (policy().unknown && !(fuse_unknown_ && work.last_unknown)) out.ids.push_back(*policy().unknown);
  work.last_unknown = true;
}

}  // namespace kvasir::text
