// What every tokenizer here shares: the token table, special tokens, BOS and EOS, decoding, and work space that is
// reused between calls. A model adds prepare() and encode_piece(). Immutable but for the pool of work spaces;
// thread-safe.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/text/merge.h"
#include "core/text/normalizer.h"
#include "core/text/special_tokens.h"
#include "core/text/token_table.h"
#include "core/text/tokenizer.h"
#include "core/text/word_cache.h"

namespace kvasir::text {

/// Decisions about special ids, made from the metadata once.
struct SpecialPolicy {
  std::optional<TokenId> bos, eos, unknown;
  bool add_bos = false;
  bool add_eos = false;
  bool strip_leading_space = false;  ///< decoding: the space that encoding put in front
  std::vector<TokenId> ends;         ///< sorted
  std::optional<FillTokens> fill;
};

/// A vocabulary after all checks.
struct TokenizerParts {
  TokenTable table;
  SpecialTokens specials;    ///< found in the text as it stands
  SpecialTokens normalised;  ///< found in what is left of it, once that is normalised ("normalized": true)
  SpecialPolicy policy;
  TokenizerLimits limits;
};

/// Memory of one encode() at a time.
struct Workspace {
  WordCache cache;
  Merger merger;
  std::vector<Symbol> symbols;
  std::string normalised;     ///< of a segment
  std::string prefixed;       ///< a piece of that with a space in front
  std::string word;           ///< of a word
  bool last_unknown = false;  ///< the last character of the segment so far became <unk>
};

class TokenizerBase : public Tokenizer {
 public:
  using Tokenizer::encode;
  Result<Encoded> encode(const TrustedText& text, const EncodeOptions& options) const override;
  std::string_view token_bytes(TokenId id) const override;
  std::string_view token_text(TokenId id) const override { return parts_.table.text(id); }
  TokenKind kind(TokenId id) const override { return parts_.table.kind(id); }
  size_t vocab_size() const noexcept override { return parts_.table.size(); }
  Result<std::string> decode(std::span<const TokenId> ids, bool special) const override;
  std::optional<TokenId> bos() const noexcept override { return parts_.policy.bos; }
  std::optional<TokenId> eos() const noexcept override { return parts_.policy.eos; }
  bool adds_bos() const noexcept override { return parts_.policy.add_bos; }
  std::optional<FillTokens> fill_tokens() const noexcept override { return parts_.policy.fill; }
  std::span<const TokenId> end_tokens() const noexcept override { return parts_.policy.ends; }
  std::optional<TokenId> find(std::string_view token_text) const override;

 protected:
  explicit TokenizerBase(TokenizerParts parts) : parts_(std::move(parts)) {}

  /// Where a stretch of text between special tokens stands.
  struct Segment {
    std::string_view text;
    bool first = false;        ///< it begins the text
    bool prefix_space = true;  ///< false only if first and the caller asked for none
  };
  /// The segment's text after normalisation; in `buffer` if it changed. Errors: kTooLarge.
  virtual Result<std::string_view> prepare(const Segment& segment, std::string& buffer) const = 0;
  /// Appends the ids of prepared text, which is not empty and may be in work.normalised.
  virtual void encode_piece(const Segment& piece, Workspace& work, Encoded& out) const = 0;
  /// Errors: kTooLarge.
  Result<std::string_view> normalise(const Normalizer& normalizer, const Segment& segment, std::string& buffer) const;

  const TokenTable& table() const noexcept { return parts_.table; }
  const SpecialPolicy& policy() const noexcept { return parts_.policy; }

  /// Looks `word` up in the cache, else calls merge() and keeps its ids unless bytes were dropped.
  /// `readable_end`: as WordCache::key_of.
  template <class MergeWord>
  static void encode_word(std::string_view word, const char* readable_end, Workspace& work, Encoded& out,
                          const MergeWord& merge) {
    if (word.size() > WordCache::kMaxWordBytes) {
      merge(word);
      return;
    }
    const WordCache::Key key = WordCache::key_of(word, readable_end);
    if (const auto known = work.cache.find(key); !known.empty()) {
      for (const TokenId id : known) out.ids.push_back(id);  // mostly one: cheaper than insert()
      work.last_unknown = false;
      return;
    }
    const size_t before = out.ids.size();
    const uint64_t dropped = out.dropped_bytes;
    merge(word);
    if (out.dropped_bytes == dropped) work.cache.keep(key, std::span(out.ids).subspan(before));
  }

 private:
  /// Hands out work spaces and takes them back; keeps a few.
  class Pool {
   public:
    std::unique_ptr<Workspace> take();
    void give(std::unique_ptr<Workspace> work);

   private:
    static constexpr size_t kKept = 4;
    std::mutex mutex_;
    std::vector<std::unique_ptr<Workspace>> idle_;  // guarded by mutex_
  };

  Result<void> encode_body(const TrustedText& text, const EncodeOptions& options, Workspace& work, Encoded& out) const;
  Result<void> encode_segment(const TrustedText& text, const Segment& segment, Workspace& work, Encoded& out) const;
  Result<TrustedText> trust_of(const TrustedText& text, const Segment& segment, std::string_view prepared) const;

  TokenizerParts parts_;
  mutable Pool pool_;
};

}  // namespace kvasir::text
