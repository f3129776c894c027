#include "core/engine/context_edit.h"

#include <algorithm>
#include <bit>
#include <charconv>

namespace kvasir {
namespace {

constexpr std::string_view kMagic = "edit1";
constexpr std::string_view kDigits = "0123456789abcdef";
constexpr size_t kMostLayers = 4096;
constexpr uint32_t kAged = 1, kInPlace = 2;
/// Changes with the bytes that ageing writes (backends/kv_rows.h), so that older ones on a disk are not found.
constexpr std::string_view kAgedBytes = " aged2";
constexpr uint32_t kMostPositions = 1U << 30;  // beyond any model

size_t bitmap_bytes(uint32_t rows) { return (size_t{rows} + 7) / 8; }

uint64_t count_bits(const std::string& bitmap) {
  uint64_t bits = 0;
  for (const char c : bitmap) bits += static_cast<uint64_t>(std::popcount(static_cast<uint8_t>(c)));
  return bits;
}

Failure broken(const std::string& what) { return {Code::kInvalidArgument, "a compressed context that does not fit: " + what}; }

std::string_view next_word(std::string_view& text) {
  const size_t end = std::min(text.find(' '), text.size());
  const std::string_view word = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return word;
}

bool read_number(std::string_view& text, uint32_t& value) {
  const std::string_view word = next_word(text);
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  return error == std::errc() && end == word.data() + word.size();
}

bool read_hex(std::string_view word, std::string& bytes) {
  if (word.size() % 2 != 0) return false;
  for (size_t i = 0; i < word.size(); i += 2) {
    const size_t high = kDigits.find(word[i]), low = kDigits.find(word[i + 1]);
    if (high == kDigits.npos || low == kDigits.npos) return false;
    bytes += static_cast<char>(high << 4 | low);
  }
  return true;
}

}  // namespace

Result<void> check_edit(const ContextEdit& edit, uint64_t tokens_before, size_t layers) {
  if (edit.source_tokens > tokens_before) return broken("it was made of more tokens than there are");
  if (edit.kept_tokens == 0 || edit.kept_tokens % kPageTokens != 0 || edit.kept_tokens > edit.source_tokens) {
    return broken("it keeps " + std::to_string(edit.kept_tokens) + " of " + std::to_string(edit.source_tokens));
  }
  if (edit.rows.size() > 1 && layers != 0 && edit.rows.size() != layers) return broken("another number of layers");
  for (const std::string& bitmap : edit.rows) {
    if (bitmap.size() != bitmap_bytes(edit.source_tokens) || count_bits(bitmap) != edit.kept_tokens) {
      return broken("a layer keeps another number of rows");
    }
    const uint32_t spare = static_cast<uint32_t>(bitmap.size() * 8) - edit.source_tokens;
    if (spare > 0 && static_cast<uint8_t>(bitmap.back()) >> (8 - spare) != 0) return broken("a row behind the last");
  }
  return {};
}

Result<void> check_stages(std::span<const ContextStage> stages, std::span<const TokenId> tokens, size_t layers) {
  for (size_t i = 0; i < stages.size(); ++i) {
    KVASIR_TRY(check_edit(stages[i].edit, stages[i].tokens.size(), layers));
    const auto kept = kept_tokens(stages[i].edit, stages[i].tokens);
    const std::span<const TokenId> next = i + 1 < stages.size() ? std::span<const TokenId>(stages[i + 1].tokens) : tokens;
    if (next.size() < kept.size() || !std::ranges::equal(kept, next.first(kept.size()))) {
      return broken("its tokens are not those that were kept");
    }
    if (position_shift(stages.first(i + 1)) > kMostPositions) return broken("positions beyond any model");
  }
  return {};
}

uint32_t position_shift(std::span<const ContextStage> stages) {
  uint32_t shift = 0;
  for (const ContextStage& stage : stages) {
    shift = stage.edit.in_place ? stage.edit.source_tokens + shift - stage.edit.kept_tokens : 0;
  }
  return shift;
}

std::vector<uint32_t> slot_positions(std::span<const ContextStage> stages, size_t layer, uint32_t slots) {
  std::vector<uint32_t> out(slots);
  const uint32_t shift = position_shift(stages);
  for (uint32_t slot = 0; slot < slots; ++slot) out[slot] = slot + shift;
  if (stages.empty()) return out;
  const ContextEdit& edit = stages.back().edit;
  const std::vector<uint32_t> before = slot_positions(stages.first(stages.size() - 1), layer, edit.source_tokens);
  const std::vector<uint32_t> rows = kept_rows(edit, layer);
  for (uint32_t slot = 0; slot < std::min<size_t>(slots, rows.size()); ++slot) {
    out[slot] = edit.in_place ? before[rows[slot]] : slot;
  }
  return out;
}

void keep_row(std::string& bitmap, uint32_t row) {
  bitmap[row / 8] = static_cast<char>(static_cast<uint8_t>(bitmap[row / 8]) | 1U << row % 8);
}

std::vector<uint32_t> kept_rows(const ContextEdit& edit, size_t layer) {
  std::vector<uint32_t> out;
  out.reserve(edit.kept_tokens);
  if (edit.rows.empty()) {
    for (uint32_t row = 0; row < edit.kept_tokens; ++row) out.push_back(row);
    return out;
  }
  const std::string& bitmap = edit.rows[edit.rows.size() == 1 ? 0 : layer];
  for (uint32_t row = 0; row < edit.source_tokens; ++row) {
    if ((static_cast<uint8_t>(bitmap[row / 8]) >> row % 8 & 1U) != 0) out.push_back(row);
  }
  return out;
}

std::vector<TokenId> kept_tokens(const ContextEdit& edit, std::span<const TokenId> source) {
  std::vector<TokenId> out;
  out.reserve(edit.kept_tokens);
  for (const uint32_t row : kept_rows(edit, 0)) out.push_back(source[row]);
  return out;
}

std::string to_text(const ContextEdit& edit) {
  std::string out = std::string(kMagic) + ' ' + std::to_string(edit.source_tokens) + ' ' + std::to_string(edit.kept_tokens) +
                    ' ' + std::to_string((edit.aged ? kAged : 0U) | (edit.in_place ? kInPlace : 0U));
  for (const std::string& bitmap : edit.rows) {
    out += ' ';
    for (const char c : bitmap) {
      out += kDigits[static_cast<uint8_t>(c) >> 4];
      out += kDigits[static_cast<uint8_t>(c) & 15U];
    }
  }
  return out;
}

Result<ContextEdit> edit_from_text(std::string_view text) {
  const Failure corrupt{Code::kCorrupt, "a stored compression cannot be read"};
  ContextEdit edit;
  uint32_t how = 0;
  if (next_word(text) != kMagic || !read_number(text, edit.source_tokens) || !read_number(text, edit.kept_tokens) ||
      !read_number(text, how) || how > (kAged | kInPlace)) {
    return corrupt;
  }
  edit.aged = (how & kAged) != 0;
  edit.in_place = (how & kInPlace) != 0;
  while (!text.empty() && edit.rows.size() < kMostLayers) {
    if (!read_hex(next_word(text), edit.rows.emplace_back())) return corrupt;
  }
  if (!text.empty() || !check_edit(edit, edit.source_tokens, 0)) return corrupt;
  return edit;
}

std::string stages_identity(std::span<const ContextStage> stages) {
  std::string out;
  for (const ContextStage& stage : stages) {
    const size_t count = std::min<size_t>(stage.tokens.size(), stage.edit.source_tokens);
    out += '|' + std::to_string(count) + ':';
    out.append(reinterpret_cast<const char*>(stage.tokens.data()), count * sizeof(TokenId));
    out += to_text(stage.edit);
    if (stage.edit.aged) out += kAgedBytes;
  }
  return out;
}

}  // namespace kvasir
