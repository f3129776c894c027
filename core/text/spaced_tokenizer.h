// What the tokenizers with a marker for spaces (CharBpe, Unigram) share: normalising, and where spaces are put in front
// or part words. Immutable; thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "core/text/space_marker.h"
#include "core/text/tokenizer_base.h"

namespace kvasir::text {

/// Where a space is put in front.
enum class PrefixSpace : uint8_t { kNever, kFirstSegment, kEverySegment };

struct SpaceRules {
  PrefixSpace prefix = PrefixSpace::kEverySegment;
  bool metaspace = false;  ///< the prefix belongs to Metaspace: after the search for added tokens, and not
                           ///< where there is a space already
  bool remove_extra_whitespaces = false;  ///< spaces are trimmed at both ends and collapsed
  bool split_at_spaces = false;           ///< each space begins a word
  bool split_at_white_space = false;  ///< white space of any kind parts words and goes; Metaspace sees them one by one
};

class SpacedTokenizer : public TokenizerBase {
 protected:
  SpacedTokenizer(TokenizerParts parts, SpaceRules rules, Normalizer normalizer)
      : TokenizerBase(std::move(parts)), rules_(rules), normalizer_(std::move(normalizer)) {}
  const SpaceRules& rules() const noexcept { return rules_; }
  /// Appends the ids of text whose spaces are still spaces. Not empty.
  virtual void encode_run(std::string_view text, Workspace& work, Encoded& out) const = 0;

 private:
  Result<std::string_view> prepare(const Segment& segment, std::string& buffer) const final;
  void encode_piece(const Segment& piece, Workspace& work, Encoded& out) const final;
  void encode_prefixed(const Segment& piece, Workspace& work, Encoded& out) const;

  SpaceRules rules_;
  Normalizer normalizer_;
};

}  // namespace kvasir::text
