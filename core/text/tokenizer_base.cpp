#include "core/text/tokenizer_base.h"

#include <algorithm>
#include <utility>

namespace kvasir::text {

std::unique_ptr<Workspace> TokenizerBase::Pool::take() {
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      auto work = std::move(idle_.back());
      idle_.pop_back();
      return work;
    }
  }
  return std::make_unique<Workspace>();
}

void TokenizerBase::Pool::give(std::unique_ptr<Workspace> work) {
  constexpr size_t kLargeBytes = 1u << 20;
  if (work->normalised.capacity() > kLargeBytes) work->normalised = {};
  if (work->prefixed.capacity() > kLargeBytes) work->prefixed = {};
  if (work->word.capacity() > kLargeBytes) work->word = {};
  if (work->symbols.capacity() * sizeof(Symbol) > kLargeBytes) {
    work->symbols = {};
    work->merger = {};
  }
  const std::lock_guard lock(mutex_);
  if (idle_.size() < kKept) idle_.push_back(std::move(work));
}

Result<Encoded> TokenizerBase::encode(const TrustedText& text, const EncodeOptions& options) const {
  if (text.text().size() > parts_.limits.max_text_bytes || text.text().size() > UINT32_MAX / 4) {
    return Failure{Code::kTooLarge, "the text has " + std::to_string(text.text().size()) +
                                        " bytes, more than the limit max_text_bytes = " +
                                        std::to_string(parts_.limits.max_text_bytes) + "; send less"};
  }
  Encoded out;
  const SpecialPolicy& policy = parts_.policy;
  if (options.add_special && policy.add_bos) out.ids.push_back(*policy.bos);
  auto work = pool_.take();
  auto done = encode_body(text, options, *work, out);
  pool_.give(std::move(work));
  KVASIR_TRY(std::move(done));
  if (options.add_special && policy.add_bos && out.ids.size() > 1 && out.ids[1] == *policy.bos) {
    out.ids.erase(out.ids.begin());  // the text, a rendered template for example, begins with its own
  }
  if (options.add_special && policy.add_eos && (out.ids.empty() || out.ids.back() != *policy.eos)) {
    out.ids.push_back(*policy.eos);
  }
  return out;
}

Result<std::string_view> TokenizerBase::normalise(const Normalizer& normalizer, const Segment& segment,
                                                  std::string& buffer) const {
  if (normalizer.empty()) return segment.text;
  const auto normalised = normalizer.apply(segment.text, buffer, parts_.limits.max_text_bytes,
                                           segment.prefix_space ? Prepend::kApply : Prepend::kLeaveOut);
  if (!normalised) {
    return Failure{Code::kTooLarge, "after normalisation the text has more than max_text_bytes = " +
                                        std::to_string(parts_.limits.max_text_bytes) + " bytes; send less"};
  }
  return *normalised;
}

/// `prepared` with the trust of the bytes that it came from. Where runs that are prepared one by one give another text
/// (a mark composed with a letter of another run, say), nothing is trusted.
Result<TrustedText> TokenizerBase::trust_of(const TrustedText& text, const Segment& segment,
                                            std::string_view prepared) const {
  const auto begin = static_cast<size_t>(segment.text.data() - text.text().data());
  const size_t end = begin + segment.text.size();
  TrustedText out;
  std::string buffer;
  for (const TrustRun& run : text.runs()) {
    if (run.end <= begin || run.begin >= end) continue;
    const size_t from = std::max(run.begin, begin), to = std::min(run.end, end);
    if (from == begin && to == end) return TrustedText(prepared, run.trusted);
    Segment part{segment.text.substr(from - begin, to - from), segment.first && from == begin,
                 segment.prefix_space && from == begin};
    out.append(KVASIR_TRY(prepare(part, buffer)), run.trusted);
  }
  return out.text() == prepared ? out : TrustedText(prepared, false);
}

Result<void> TokenizerBase::encode_segment(const TrustedText& text, const Segment& segment, Workspace& work,
                                           Encoded& out) const {
  const std::string_view prepared = KVASIR_TRY(prepare(segment, work.normalised));
  if (prepared.empty()) return {};
  if (parts_.normalised.empty()) {
    encode_piece({prepared, segment.first, segment.prefix_space}, work, out);
    return {};
  }
  const TrustedText trusted = KVASIR_TRY(trust_of(text, segment, prepared));
  const std::string_view all = trusted.text();
  SpecialTokens::Finder finder(parts_.normalised, trusted);
  SpecialTokens::Match match;
  size_t at = 0;
  const auto piece = [&](size_t to) {
    if (at < to)
      encode_piece({all.substr(at, to - at), segment.first && at == 0, segment.prefix_space || at != 0}, work, out);
  };
  while (finder.next(match)) {
    piece(match.begin);
    out.ids.push_back(match.id);
    at = match.end;
  }
  piece(all.size());
  return {};
}

Result<void> TokenizerBase::encode_body(const TrustedText& text, const EncodeOptions& options, Workspace& work,
                                        Encoded& out) const {
  const std::string_view all = text.text();
  if (all.empty()) return {};
  out.ids.reserve(all.size() / 3 + 16);
  SpecialTokens::Finder finder(parts_.specials, text);
  SpecialTokens::Match match;
  size_t at = 0;
  const auto segment = [&](size_t to) -> Result<void> {
    if (at >= to) return {};
    return encode_segment(text, {all.substr(at, to - at), at == 0, options.prefix_space || at != 0}, work, out);
  };
  while (finder.next(match)) {
    KVASIR_TRY(segment(match.begin));
    out.ids.push_back(match.id);
    at = match.end;
  }
  return segment(all.size());
}

std::string_view TokenizerBase::token_bytes(TokenId id) const {
  const TokenKind k = parts_.table.kind(id);
  if (k == TokenKind::kControl || k == TokenKind::kUnknown) return {};
  return parts_.table.bytes(id);
}

std::optional<TokenId> TokenizerBase::find(std::string_view token_text) const {
  const TokenId id = parts_.table.find(token_text);
  if (id < 0) return std::nullopt;
  return id;
}

Result<std::string> TokenizerBase::decode(std::span<const TokenId> ids, bool special) const {
  std::string out;
  for (const TokenId id : ids) {
    if (!valid(id)) {
      return Failure{Code::kInvalidArgument, "token id " + std::to_string(id) + " is outside the vocabulary of " +
                                                 std::to_string(vocab_size()) + " tokens"};
    }
    const TokenKind k = kind(id);
    const bool hidden = !special && (k == TokenKind::kControl || k == TokenKind::kUnknown);
    if (!hidden) out.append(parts_.table.bytes(id));
  }
  if (parts_.policy.strip_leading_space && out.starts_with(' ')) out.erase(0, 1);
  return out;
}

}  // namespace kvasir::text
