#include "core/text/normalizer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/text/unicode.h"

namespace kvasir::text {
namespace {

std::optional<std::string> replace_all(std::string_view text, std::string_view from, std::string_view to, size_t most) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0;;) {
    const size_t found = text.find(from, at);
    out.append(text.substr(at, found - at));
    if (found == std::string_view::npos) return out;
    out.append(to);
    if (out.size() > most) return std::nullopt;
    at = found + from.size();
  }
}

std::string collapse_spaces(std::string_view text, std::string_view to) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    size_t run = i;
    while (run < text.size() && text[run] == ' ') ++run;
    if (run - i >= 2) {
      out.append(to);
      i = run;
    } else {
      out.push_back(text[i++]);
    }
  }
  return out;
}

bool white_at(std::string_view text, size_t at) {
  return unit_at(text.data() + at, text.data() + text.size(), CharTable::shared().basic_plane()).in(kWhiteSpace);
}

size_t next_at(std::string_view text, size_t at) {
  return at + decode_at(text.data() + at, text.data() + text.size()).bytes;
}

std::string_view strip_left(std::string_view text) {
  size_t at = 0;
  while (at < text.size() && white_at(text, at)) at = next_at(text, at);
  return text.substr(at);
}

std::string_view strip_right(std::string_view text) {
  size_t kept = 0;
  for (size_t at = 0; at < text.size();) {
    const bool white = white_at(text, at);
    at = next_at(text, at);
    if (!white) kept = at;
  }
  return text.substr(0, kept);
}

}  // namespace

// The double array is that of Darts-clone: a unit holds a label in its low byte, bit 31 marks a unit that is no plain
// label, bit 8 a child that is a value, and the offset is in bits 10 to 30, or in steps of 256 where bit 9 is set.
Result<CharsMap> CharsMap::create(std::string_view blob) {
  uint32_t trie_bytes = 0;
  if (blob.size() < sizeof(trie_bytes))
    return Failure{Code::kCorrupt, "precompiled_charsmap is shorter than its header"};
  std::memcpy(&trie_bytes, blob.data(), sizeof(trie_bytes));
  if (trie_bytes % 4 != 0 || trie_bytes < 4 || trie_bytes >= blob.size() - 4) {
    return Failure{Code::kCorrupt, "precompiled_charsmap says its table has " + std::to_string(trie_bytes) +
                                       " bytes, of " + std::to_string(blob.size()) + " in all"};
  }
  CharsMap out;
  out.units_.resize(trie_bytes / 4);
  std::memcpy(out.units_.data(), blob.data() + 4, trie_bytes);
  out.pool_ = blob.substr(4 + size_t{trie_bytes});
  if (out.pool_.back() != '\0') return Failure{Code::kCorrupt, "precompiled_charsmap ends inside a string"};
  return out;
}

std::optional<std::string> CharsMap::apply(std::string_view text, size_t most) const {
  constexpr size_t kLongestMatch = 256;  // a damaged table may have cycles
  const auto offset = [](uint32_t unit) -> size_t { return (unit >> 10) << ((unit & (1u << 9)) >> 6); };
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    size_t node = offset(units_[0]), length = 0, value = 0;
    for (size_t i = at; i < std::min(text.size(), at + kLongestMatch); ++i) {
      const auto byte = static_cast<uint8_t>(text[i]);
      node ^= byte;
      if (byte == 0 || node >= units_.size() || (units_[node] & 0x800000FFu) != byte) break;
      const bool ends = (units_[node] >> 8 & 1u) != 0;
      node ^= offset(units_[node]);
      if (node >= units_.size()) break;
      if (ends) {
        length = i + 1 - at;
        value = units_[node] & 0x7FFFFFFFu;
      }
    }
    if (length > 0 && value < pool_.size()) {
      out.append(pool_.c_str() + value);
      if (out.size() > most) return std::nullopt;
      at += length;
    } else {
      const size_t next = next_at(text, at);
      out.append(text.substr(at, next - at));
      at = next;
    }
  }
  return out;
}

std::optional<std::string_view> Normalizer::apply(std::string_view text, std::string& buffer, size_t most,
                                                  Prepend prepend) const {
  using Kind = NormalizeStep::Kind;
  size_t map = 0;
  std::string now;  // what the last step made; text views it, or the original
  const auto becomes = [&](std::string made) {
    now = std::move(made);
    text = now;
  };
  for (const NormalizeStep& step : steps_) {
    switch (step.kind) {
      case Kind::kNfc:
        if (!quick_check_nfc(text)) becomes(to_nfc(text));
        break;
      case Kind::kNfd:
        becomes(to_form(text, NormalForm::kNfd));
        break;
      case Kind::kNfkc:
        becomes(to_form(text, NormalForm::kNfkc));
        break;
      case Kind::kNfkd:
        becomes(to_form(text, NormalForm::kNfkd));
        break;
      case Kind::kLowercase:
        becomes(to_lower(text));
        break;
      case Kind::kStripLeft:
        text = strip_left(text);
        break;
      case Kind::kStripRight:
        text = strip_right(text);
        break;
      case Kind::kReplace:
        if (text.find(step.from) != std::string_view::npos) {
          auto made = replace_all(text, step.from, step.to, most);
          if (!made) return std::nullopt;
          becomes(std::move(*made));
        }
        break;
      case Kind::kCollapseSpaces:
        if (text.find("  ") != std::string_view::npos) becomes(collapse_spaces(text, step.to));
        break;
      case Kind::kPrepend:
        if (prepend == Prepend::kApply && !text.empty()) becomes(step.to + std::string(text));
        break;
      case Kind::kCharsMap: {
        auto made = maps_[map++].apply(text, most);
        if (!made) return std::nullopt;
        becomes(std::move(*made));
        break;
      }
    }
    if (text.size() > most) return std::nullopt;
  }
  if (now.empty()) return text;  // never copied: a part of the original, or nothing is left
  buffer.assign(text);
  return std::string_view(buffer);
}

}  // namespace kvasir::text
