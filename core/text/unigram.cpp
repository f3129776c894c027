#include "core/text/unigram.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "core/text/unicode.h"

namespace kvasir::text {

Unigram::Unigram(TokenizerParts parts, std::vector<double> scores, UnigramPieces which, SpaceRules spaces,
                 Normalizer normalizer)
    : SpacedTokenizer(std::move(parts), spaces, std::move(normalizer)), scores_(std::move(scores)), which_(which) {
  constexpr double kUnknownPenalty = 10;  // below the worst piece, as in SentencePiece
  byte_tokens_.fill(-1);
  std::vector<std::string_view> texts;
  std::optional<double> lowest;
  for (size_t i = 0; i < table().size(); ++i) {
    const auto id = static_cast<TokenId>(i);
    if (table().kind(id) == TokenKind::kByte) byte_tokens_[static_cast<uint8_t>(table().bytes(id)[0])] = id;
    if (is_piece(id)) ids_.push_back(id);
    const bool counts = which_ == UnigramPieces::kAll ? !table().only_added(id) : is_piece(id);
    if (counts) lowest = std::min(lowest.value_or(scores_[i]), scores_[i]);
  }
  unknown_score_ = lowest.value_or(0) - kUnknownPenalty;
  std::sort(ids_.begin(), ids_.end(), [this](TokenId a, TokenId b) { return table().text(a) < table().text(b); });
  for (const TokenId id : ids_) texts.push_back(table().text(id));
  pieces_ = ByteTrie(texts);
}

bool Unigram::is_piece(TokenId id) const noexcept {
  if (which_ == UnigramPieces::kNormal) return table().kind(id) == TokenKind::kNormal;
  return table().in_text(id) || (table().kind(id) == TokenKind::kByte && !table().only_added(id));
}

void Unigram::encode_run(std::string_view text, Workspace& work, Encoded& out) const {
  const std::string marked = mark_spaces(text);
  const char* const end = marked.data() + marked.size();
  for (size_t at = 0; at < marked.size();) {
    size_t next = rules().split_at_spaces ? marked.find(kSpaceMarker, at + 1) : std::string::npos;
    if (next == std::string::npos) next = marked.size();
    encode_word(std::string_view(marked).substr(at, next - at), end, work, out,
                [&](std::string_view word) { cut_word(word, work, out); });
    if (rules().split_at_spaces) work.last_unknown = false;
    at = next;
  }
}

void Unigram::cut_word(std::string_view word, Workspace& work, Encoded& out) const {
  std::vector<Arrival> best(word.size() + 1);
  best[0].reached = true;
  const char* const end = word.data() + word.size();
  for (size_t at = 0; at < word.size();) {
    const size_t character = decode_at(word.data() + at, end).bytes;
    const double here = best[at].score;
    const auto offer = [&](size_t length, double score, TokenId id) {
      Arrival& arrival = best[at + length];
      if (arrival.reached && here + score <= arrival.score) return;
      arrival = {here + score, static_cast<uint32_t>(at), id, true};
    };
    bool has_single = false;
    const ByteTrie::Node* node = pieces_.empty() ? nullptr : pieces_.root();
    for (size_t i = at; i < word.size() && node != nullptr; ++i) {
      node = pieces_.child(*node, static_cast<uint8_t>(word[i]));
      if (node == nullptr || node->entry < 0) continue;
      const TokenId id = ids_[static_cast<size_t>(node->entry)];
      offer(i + 1 - at, scores_[static_cast<size_t>(id)], id);
      has_single = has_single || i + 1 - at == character;
    }
    if (!has_single) offer(character, unknown_score_, -1);
    at += character;  // reached: by a piece of this one character, or as unknown
  }
  std::vector<std::pair<uint32_t, uint32_t>> cuts;
  for (auto at = static_cast<uint32_t>(word.size()); at > 0; at = best[at].from) cuts.emplace_back(best[at].from, at);
  for (auto cut = cuts.rbegin(); cut != cuts.rend(); ++cut) {
    const TokenId id = best[cut->second].id;
    if (id < 0) {
      emit_unknown(word.substr(cut->first, cut->second - cut->first), work, out);
    } else {
      out.ids.push_back(id);
      work.last_unknown = false;
    }
  }
}

void Unigram::emit_unknown(std::string_view bytes, Workspace& work, Encoded& out) const {
  bool all = true;
  for (const char c : bytes) all = all && byte_tokens_[static_cast<uint8_t>(c)] >= 0;
  if (all) {
    for (const char c : bytes) out.ids.push_back(byte_tokens_[static_cast<uint8_t>(c)]);
    return;
  }
  out.dropped_bytes += bytes.size();
  if (!work.last_unknown) out.ids.push_back(*policy().unknown);
  work.last_unknown = true;
}

}  // namespace kvasir::text
