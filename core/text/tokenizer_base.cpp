#include "core/text/tokenizer_base.h"

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

Result<std::string_view> TokenizerBase::normalise(const Normalizer& normalizer, std::string_view text, Workspace& work) const {
  if (normalizer.empty()) return text;
  const auto normalised = normalizer.apply(text, work.normalised, parts_.limits.max_text_bytes);
  if (!normalised) {
    return Failure{Code::kTooLarge, "after normalisation the text has more than max_text_bytes = " +
                                        std::to_string(parts_.limits.max_text_bytes) + " bytes; send less"};
  }
  return *normalised;
}

Result<void> TokenizerBase::encode_body(const TrustedText& text, const EncodeOptions& options, Workspace& work,
                                        Encoded& out) const {
  const std::string_view all = text.text();
  if (all.empty()) return {};
  out.ids.reserve(all.size() / 3 + 16);
  SpecialTokens::Finder finder(parts_.specials, text);
  SpecialTokens::Match match;
  const auto segment = [&](size_t begin, size_t end) -> Result<void> {
    if (begin == end) return {};
    return encode_segment({all.substr(begin, end - begin), begin == 0, options.prefix_space || begin != 0}, work, out);
  };
  size_t at = 0;
  while (finder.next(at, match)) {
    KVASIR_TRY(segment(at, match.begin));
    out.ids.push_back(match.id);
    at = match.end;
  }
  return segment(at, all.size());
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
